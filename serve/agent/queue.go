package agent

import (
	"iter"
	"sync"

	"github.com/zerosearch-go/zerosearch/rl/assistant"
	"github.com/zerosearch-go/zerosearch/rl/eval"
)

// queue brings calls from the goroutines of an answer, the engine's among them, which must not wait for a client, to
// the one that serves it.
type queue struct {
	mu      sync.Mutex
	changed *sync.Cond
	calls   []call
	closed  bool
}

// call is a call that waits. The text of a turn that is not complete is replaced by a longer one.
type call struct {
	run         func()
	replaceable bool
}

func newQueue() *queue {
	q := &queue{}
	q.changed = sync.NewCond(&q.mu)
	return q
}

func (q *queue) add(c call) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if n := len(q.calls); n > 0 && q.calls[n-1].replaceable && c.replaceable {
		q.calls = q.calls[:n-1]
	}
	q.calls = append(q.calls, c)
	q.changed.Signal()
}

func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.changed.Signal()
}

// all gives the calls as they come, until the queue is closed.
func (q *queue) all() iter.Seq[func()] {
	return func(yield func(func()) bool) {
		for {
			q.mu.Lock()
			for len(q.calls) == 0 && !q.closed {
				q.changed.Wait()
			}
			calls := q.calls
			q.calls = nil
			q.mu.Unlock()
			if len(calls) == 0 {
				return
			}
			for _, c := range calls {
				if !yield(c.run) {
					return
				}
			}
		}
	}
}

// watch is w by way of the queue.
func (q *queue) watch(w assistant.Watch) assistant.Watch {
	later := func(run func()) { q.add(call{run: run}) }
	return assistant.Watch{
		Begin: func(m eval.Method, again bool) { later(func() { w.Begin(m, again) }) },
		Text: func(text string, final bool) {
			q.add(call{run: func() { w.Text(text, final) }, replaceable: !final})
		},
		Searching: func(turn int, query string) { later(func() { w.Searching(turn, query) }) },
		Searched: func(turn int, query string, documents []string) {
			later(func() { w.Searched(turn, query, documents) })
		},
		Write: func(documents []string) { later(func() { w.Write(documents) }) },
	}
}
