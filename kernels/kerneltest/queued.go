package kerneltest

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"unsafe"

	"github.com/zerosearch-go/zerosearch/kernels"
)

// Queued is a device that works as late as a GPU may: it computes with another device, but not before somebody waits
// for the result, and only as far as that is needed. It is kernels.Asynchronous and a kernels.Recorder, and panics
// where a caller breaks the contract of these interfaces or uses something that was freed. Results are those of the
// device behind it.
//
// What may be read on the host only after Wait holds canaries until then. An operation that panics when its turn
// comes is an error of queued work: it appears at the next Wait or Sync, and stays until Recover.
type Queued struct{ queued }

type queued struct {
	inner kernels.Device

	mu        sync.Mutex
	queue     []queuedWork
	err       error
	recording *queuedRecording // being recorded
	// operations with their shapes that have been called, with the pages of the longest sequence
	ran     map[string]int
	replays int
	fetches []*queuedTicket // whose memory is the device's
}

// queuedWork is a call that has not been made yet.
type queuedWork struct {
	name   string
	f      func()
	always bool // even after an error
	ticket *queuedTicket
}

// Queue makes a device that computes with d, which it owns.
func Queue(d kernels.Device) *Queued { return &Queued{queued{inner: d, ran: map[string]int{}}} }

var (
	_ kernels.Device       = (*Queued)(nil)
	_ kernels.Asynchronous = (*Queued)(nil)
	_ kernels.Recorder     = (*Queued)(nil)
)

// Asynchronous says that results come later.
func (q *queued) Asynchronous() {}

// Inner is the device behind q.
func (q *Queued) Inner() kernels.Device { return q.inner }

// Replays is the number of recordings that were replayed so far.
func (q *Queued) Replays() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.replays
}

// Recover forgets an error, which no real device does, so that a test can go on with the same one.
func (q *Queued) Recover() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.err = nil
}

// direct is for calls that take effect at once. They are not allowed while a recording is made. The caller unlocks
// q.mu.
func (q *queued) direct(name string) {
	q.mu.Lock()
	if q.recording != nil {
		q.mu.Unlock()
		panic("kerneltest: " + name + " within Record: only operations can be recorded")
	}
}

// later queues a call that cannot be recorded.
func (q *queued) later(name string, f func(), args ...any) {
	q.direct(name)
	defer q.mu.Unlock()
	q.check(name, args)
	q.queue = append(q.queue, queuedWork{name: name, f: f})
}

// op queues or records an operation on args, which are tensors, lists of them, weights, caches and batches.
func (q *queued) op(name string, f func(), args ...any) {
	q.mu.Lock()
	defer q.mu.Unlock()
	shapes, pages := q.check(name, args)
	if q.recording == nil {
		q.ran[shapes] = max(q.ran[shapes], pages)
		q.queue = append(q.queue, queuedWork{name: name, f: f})
		return
	}
	if most, ok := q.ran[shapes]; !ok || most < pages {
		panic(fmt.Sprintf("kerneltest: %s is recorded for %d pages a sequence without having run before", shapes,
			pages))
	}
	q.recording.work = append(q.recording.work, queuedWork{name: name, f: f})
	q.recording.uses(args)
}

// check panics where something in args was freed or is another device's. It returns name with the shapes of args, and
// the pages of the longest sequence in them.
func (q *queued) check(name string, args []any) (shapes string, pages int) {
	text := []byte(name)
	for _, arg := range args {
		switch x := arg.(type) {
		case kernels.Tensor:
			text = fmt.Appendf(text, " %v", x)
		case kernels.Weight:
			n, k := x.Shape()
			text = fmt.Appendf(text, " %v[%d, %d]", x.Type(), n, k)
		case *queuedBatch:
			l := &x.layout
			text = fmt.Appendf(text, " batch(%d, %d, %d, %d)", len(l.IDs), len(l.Segs), len(l.Rows), len(l.Draws))
			pages = longest(l)
		case []kernels.Tensor:
			s, _ := q.check("", anyOf(x))
			text = append(text, s...)
		}
		if o := ownerOf(arg); o != nil && (o.q != q || o.freed) {
			panic(fmt.Sprintf("kerneltest: %s: %T was freed or is another device's", name, arg))
		}
	}
	return string(text), pages
}

func anyOf(ts []kernels.Tensor) (all []any) {
	for _, t := range ts {
		all = append(all, t)
	}
	return all
}

// longest is the number of pages of the longest sequence.
func longest(l *kernels.Layout) (n int) {
	for i := range l.Segs {
		n = max(n, len(l.Segs[i].Pages))
	}
	return n
}

// run makes the calls up to the one of t, or all.
func (q *queued) run(t *queuedTicket) {
	for len(q.queue) > 0 && (t == nil || !t.done) {
		w := q.queue[0]
		q.queue = q.queue[1:]
		if q.err == nil || w.always {
			q.protect(w)
		}
		if w.ticket != nil {
			w.ticket.done, w.ticket.err = true, q.err
		}
	}
}

func (q *queued) protect(w queuedWork) {
	defer func() {
		if x := recover(); x != nil && q.err == nil {
			q.err = fmt.Errorf("queued %s: panic: %v", w.name, x)

		}
	}()
	w.f()
}

// note keeps the first error.
func (q *queued) note(err error) {
	if q.err == nil {
		q.err = err
	}
}

// queuedTicket is a result on its way.
type queuedTicket struct {
	q            *queued
	done, waited bool
	err          error
	dst          []byte
}

// overlaps reports whether two pieces of the host's memory share a byte.
func overlaps(a, b []byte) bool {
	if len(a) == 0 || len(b) == 0 {
		return false
	}
	from, other := uintptr(unsafe.Pointer(&a[0])), uintptr(unsafe.Pointer(&b[0]))
	return from < other+uintptr(len(b)) && other < from+uintptr(len(a))
}

// Wait lets other goroutines run before, as the Wait for a GPU does.
func (t *queuedTicket) Wait() error {
	runtime.Gosched()
	t.q.direct("Wait")
	defer t.q.mu.Unlock()
	if t.waited {
		panic("kerneltest: second Wait for a ticket")
	}
	t.waited = true
	t.q.run(t)
	t.q.fetches = slices.DeleteFunc(t.q.fetches, func(x *queuedTicket) bool { return x == t })
	return t.err
}

// queuedRecording is a recording.
type queuedRecording struct {
	q       *queued
	work    []queuedWork
	args    []any // checked at every replay
	batches map[*queuedBatch]kernels.Layout
	freed   bool
}

// uses notes what the recording depends on.
func (t *queuedRecording) uses(args []any) {
	for _, arg := range args {
		if b, ok := arg.(*queuedBatch); ok && t.batches[b].IDs == nil {
			var l kernels.Layout
			l.CopyFrom(&b.layout)
			t.batches[b] = l
		}
		t.args = append(t.args, arg)
	}
}

// Record calls f and keeps its operations.
func (q *queued) Record(f func()) (kernels.Recording, error) {
	q.direct("Record")
	t := &queuedRecording{q: q, batches: map[*queuedBatch]kernels.Layout{}}
	q.recording = t
	q.mu.Unlock()
	defer func() {
		q.mu.Lock()
		q.recording = nil
		q.mu.Unlock()
	}()
	f()
	return t, nil
}

// Replay queues the operations again.
func (t *queuedRecording) Replay() {
	q := t.q
	q.direct("Replay")
	defer q.mu.Unlock()
	if t.freed {
		panic("kerneltest: Replay of a recording that was freed")
	}
	q.check("Replay", t.args)
	for b, then := range t.batches {
		now := &b.layout
		same := slices.EqualFunc(now.Segs, then.Segs, func(a, b kernels.Segment) bool {
			return a.Row == b.Row && a.Len == b.Len
		})
		if !same || len(now.IDs) != len(then.IDs) || len(now.Rows) != len(then.Rows) ||
			len(now.Draws) != len(then.Draws) || longest(now) > longest(&then) {
			panic(
				fmt.Sprintf(
					"kerneltest: Replay over %d tokens of %d segments, %d rows, %d draws and %d pages a sequence, "+
						"recorded over %d, %d, %d, %d and %d", len(now.IDs), len(now.Segs), len(now.Rows),
					len(now.Draws),
					longest(now), len(then.IDs), len(then.Segs), len(then.Rows), len(then.Draws), longest(&then)))
		}
	}
	q.queue = append(q.queue, t.work...)
	q.replays++
}

// Free ends the recording.
func (t *queuedRecording) Free() {
	t.q.direct("Free")
	defer t.q.mu.Unlock()
	if t.freed {
		panic("kerneltest: second Free of a recording")
	}
	t.freed = true
}
