// Package engine runs models for many callers at once: it batches whatever is pending, keeps keys and values between
// requests, and gives every caller the bits it would get if it were alone.
//
//	e := engine.New(dev, engine.Options{})
//	defer e.Close()
//	err := e.AddModel("policy", m, engine.ModelOptions{})
//	res, err := e.Generate(ctx, engine.Request{Model: "policy", Prompt: ids, MaxTokens: 256, Temperature: 1, Stream: engine.Stream(seed, 7)})
//
// One goroutine, the loop, owns the device. Generate and Score may be called from any number of goroutines: write
// each episode as straight-line code and start hundreds. To save or load, which need the device too, use Do; to
// train, Change, which forgets what was computed with the old weights.
//
// What runs when is decided by a pure state machine (scheduler.go) over the page tables of package kvcache. A step of
// it is laid out as a batch of segments (batch.go) and runs as one forward pass with the draws behind it
// (queuedpass.go, sampler.go), keyed by the request's stream and the position (rng.go).
//
// On a device that is kernels.Asynchronous the loop is one step ahead: while the results of a step are on their way it
// plans and queues the next one for the sequences that go on, whose sampled ids are fed on the device. What a step
// computed for a sequence that had ended is dropped. Decode passes of a kernels.Recorder are replayed from recordings
// (recordings.go). No result depends on either.
package engine

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/zerosearch-go/zerosearch/engine/kvcache"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/model"
)

// ErrClosed is the error of requests that an engine did not finish before Close.
var ErrClosed = errors.New("the engine is closed")

// Options are those of an engine as a whole.
type Options struct {
	// LogitsBytes bounds the memory for logits of a model: rows that sample are taken in chunks of so many bytes. 0:
	// 64 MiB.
	LogitsBytes int64
	// Note is told what no request reports and the caller should know, such as why a model's passes are not recorded.
	// It is called between passes and must not call the engine; nil: nobody is told.
	Note func(text string)
}

// Engine runs the models of one device.
type Engine struct {
	dev     kernels.Device
	o       Options
	lags    bool          // the device works while the host prepares the next pass
	stopped chan struct{} // closed when the loop has ended

	mu      sync.Mutex
	wake    *sync.Cond // something below has changed
	runners map[string]*runner
	inbox   []arrival // in order of arrival, not yet seen by the loop
	cancels []*job
	changes []change
	closed  bool
	stats   map[string]ModelStats

	sched   scheduler // this and what follows are the loop's own
	lanes   map[*lane]*runner
	queued  []*queuedPass // passes whose results are on their way, one at most while another is prepared
	settled time.Time     // when results came last
}

// arrival is a request, or a task that wants the device for itself.
type arrival struct {
	job  *job
	task *task
}

// task is a call of Do.
type task struct {
	f    func() error
	err  error
	done chan struct{}
}

// change says that weights are not what they were.
type change struct {
	r   *runner
	key kvcache.Key
	all bool
}

// New starts an engine on dev, which from now on belongs to its loop: use it inside Do only. Models are added with
// AddModel.
func New(dev kernels.Device, o Options) *Engine {
	e := newEngine(dev, o)
	go e.loop()
	return e
}

// newEngine is an engine whose loop has not begun.
func newEngine(dev kernels.Device, o Options) *Engine {
	if o.LogitsBytes <= 0 {
		o.LogitsBytes = 64 << 20
	}
	e := &Engine{dev: dev, o: o, stopped: make(chan struct{}), runners: map[string]*runner{},
		stats: map[string]ModelStats{}, lanes: map[*lane]*runner{}}
	_, e.lags = dev.(kernels.Asynchronous)
	e.wake = sync.NewCond(&e.mu)
	return e
}

// Close ends the loop, fails what is pending with ErrClosed and frees what the engine allocated; models, adapters and
// the device stay their owners'. Not inside Do.
func (e *Engine) Close() {
	e.mu.Lock()
	e.closed = true
	e.wake.Signal()
	e.mu.Unlock()
	<-e.stopped
}

// Do runs f with the device to itself: what came before is finished first, what comes later waits. It is how one
// writes checkpoints and loads models beside a running engine; see Change for training. f may call Invalidate, but no
// other method of the engine: they would wait for f to end. A panic of f becomes an error. If ctx ends before f
// begins, f is not run.
func (e *Engine) Do(ctx context.Context, f func() error) error {
	t := &task{f: f, done: make(chan struct{})}
	if err := e.submit(ctx, arrival{task: t}); err != nil {
		return err
	}
	select {
	case <-t.done:
	case <-ctx.Done():
		if e.withdraw(func(a arrival) bool { return a.task == t }) {
			return ctx.Err()
		}
		<-t.done
	}
	return t.err
}

// Change is Do for an f that changes weights: those of an adapter of the model, or, where a is nil, of the model
// itself. Whatever becomes of f, nothing computed with the old weights is used again; what other adapters and the
// base have computed stays, where an adapter changed.
func (e *Engine) Change(ctx context.Context, model string, a *model.Adapter, f func() error) error {
	return e.Do(ctx, func() error {
		defer e.invalidate(model, a, a == nil)
		return f()
	})
}

// Invalidate says that the weights of a model have changed: nothing computed with the old ones is used again.
// Sequences under way go on with the new ones. It may be called from anywhere; a name that is not there is ignored.
func (e *Engine) Invalidate(model string) { e.invalidate(model, nil, true) }

// InvalidateAdapter is Invalidate for one adapter of a model, or its base if a is nil (adapters' pages then stay, so
// use it only where the base did not change for them).
func (e *Engine) InvalidateAdapter(model string, a *model.Adapter) { e.invalidate(model, a, false) }

func (e *Engine) invalidate(name string, a *model.Adapter, all bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if r := e.runners[name]; r != nil {
		e.changes = append(e.changes, change{r, keyOf(a), all})
	}
}

// keyOf is what an adapter's pages are kept under; 0 is the base.
func keyOf(a *model.Adapter) kvcache.Key {
	if a == nil {
		return 0
	}
	return kvcache.Key(a.ID())
}

// submit hands a to the loop.
func (e *Engine) submit(ctx context.Context, a arrival) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return ErrClosed
	}
	e.inbox = append(e.inbox, a)
	e.wake.Signal()
	return nil
}

// withdraw takes an arrival back that the loop has not seen, and says whether it was there.
func (e *Engine) withdraw(is func(arrival) bool) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	i := slices.IndexFunc(e.inbox, is)
	if i >= 0 {
		e.inbox = slices.Delete(e.inbox, i, i+1)
	}
	return i >= 0
}

// cancel asks the loop to drop a job that it has seen.
func (e *Engine) cancel(j *job) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.cancels = append(e.cancels, j)
	e.wake.Signal()
}

// loop is the goroutine that owns the device: events in, a step or a task, again. It sleeps when there is nothing to
// do.
func (e *Engine) loop() {
	if _, bound := e.dev.(kernels.ThreadBound); bound {
		runtime.LockOSThread() // to the end: the thread ends with the loop
	}
	var t *task
	ok := true
	defer func() {
		if !ok {
			close(e.stopped)
			return
		}
		// A task or a stop function has ended our goroutine, as t.FailNow does in a test: nobody shall wait for ever.
		if t != nil {
			t.end(errExit)
		}
		e.fail(errExit)
		go e.loop()
	}()
	for {
		if t, ok = e.next(); !ok {
			e.release()
			return
		}
		if t != nil {
			t.end(protect("the task", t.f))
		} else if err := protect(stepping, e.step); err != nil {
			e.fail(err)
		}
	}
}

var errExit = errors.New("a function given to the engine called runtime.Goexit")

func (t *task) end(err error) {
	t.err = err
	close(t.done)
}

// next takes in what has happened and waits until there is something to do: a task, or a step (nil). false: the
// engine is closed.
func (e *Engine) next() (*task, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for !e.closed {
		if !e.interrupted() {
			e.takeIn()
		}
		if !e.sched.idle() || len(e.queued) > 0 {
			return nil, true
		}
		if len(e.inbox) > 0 { // a task, and what was before it is done
			t := e.inbox[0].task
			e.inbox = e.inbox[1:]
			return t, true
		}
		e.wake.Wait()
	}
	return nil, false
}

// interrupted reports whether something has happened that must wait until no pass is under way. e.mu is held.
func (e *Engine) interrupted() bool {
	return len(e.queued) > 0 && len(e.cancels)+len(e.changes) > 0
}

// takeIn gives the scheduler all events, up to the first task: what comes behind that waits in the inbox.
func (e *Engine) takeIn() {
	for _, c := range e.changes {
		c.r.lane.invalidate(c.key, c.all)
	}
	for len(e.inbox) > 0 && e.inbox[0].job != nil {
		j := e.inbox[0].job
		e.inbox = e.inbox[1:]
		if e.lanes[j.r.lane] == nil {
			j.end(errRemoved)
			continue
		}
		j.r.jobs[j] = true
		e.sched.add(j.r.lane, j.q)
	}
	for _, j := range e.cancels {
		if j.r.jobs[j] {
			j.r.lane.cancel(j.q)
			j.end(context.Canceled)
		}
	}
	e.changes, e.cancels = e.changes[:0], e.cancels[:0]
	e.publish()
}

// step is one pass of one model: schedule, lay out, run, collect. Where the device lags behind, what is collected is
// the pass before.
func (e *Engine) step() error {
	f := e.layOut()
	if f == nil || f.alone() {
		if err := e.collect(0); err != nil || f == nil {
			return err
		}
		if f.plan.prune(); f.plan.tokens == 0 {
			e.sched.done(f.plan, nil)
			return nil
		}
		f.fill() // again: all ids are known now
	}
	err := protect(stepping, f.run)
	under := 0
	if err == nil {
		e.queued = append(e.queued, f)
		if e.lags {
			under = 1
		}
	}
	if earlier := e.collect(under); earlier != nil {
		return earlier
	}
	if err == nil && e.lags {
		e.sched.sent(f.plan)
		f.ahead()
	}
	return err
}

const stepping = "a step of the engine"

// layOut is the next pass; nil if there is none before the pass under way is collected.
func (e *Engine) layOut() *queuedPass {
	e.mu.Lock()
	wait := e.interrupted()
	e.mu.Unlock()
	if wait {
		return nil
	}
	p := e.sched.plan()
	if p == nil {
		return nil
	}
	return e.lanes[p.lane].layOut(p)
}

// collect waits for the passes under way but the last so many, and draws the consequences.
func (e *Engine) collect(under int) error {
	for len(e.queued) > under {
		f := e.queued[0]
		e.queued = slices.Delete(e.queued, 0, 1)
		if err := f.wait(); err != nil {
			return err
		}
		out := f.outcomes()
		e.sched.done(f.plan, out)
		if e.settled.After(f.since) {
			f.since = e.settled
		}
		e.settled = f.count(out)
		e.mu.Lock()
		e.publish()
		e.mu.Unlock()
		for i, it := range f.plan.items {
			if it.ends && !out[i].dropped && (it.seq.scores || out[i].finish) {
				it.seq.job.end(nil)
			}
		}
	}
	return nil
}

// fail ends everything under way with err: what the device holds after a failure is unknown, so all books are started
// anew.
func (e *Engine) fail(err error) {
	for _, f := range e.queued {
		if f.ticket != nil {
			f.ticket.Wait() // until then the device may write into our memory
		}
	}
	e.queued = e.queued[:0]
	for _, r := range e.lanes {
		r.reset()
	}
	e.mu.Lock()
	e.publish()
	e.mu.Unlock()
	for _, r := range e.lanes {
		for j := range r.jobs {
			j.end(err)
		}
	}
}

// release is the end of the loop.
func (e *Engine) release() {
	e.fail(ErrClosed)
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, a := range e.inbox {
		if a.task != nil {
			a.task.end(ErrClosed)
		} else {
			a.job.end(ErrClosed)
		}
	}
	e.inbox = nil
	for _, r := range e.runners {
		r.close()
	}
}

// PanicError is a panic, of a device or of a caller's function, that the engine caught. Its text is one line; Stack
// says where.
type PanicError struct {
	Value any
	Stack []byte
}

func (p *PanicError) Error() string { return fmt.Sprintf("panic: %v", p.Value) }

// protect runs f and turns a panic into an error.
func protect(what string, f func() error) (err error) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case *kernels.Panic: // of a device's own goroutine
			err = fmt.Errorf("%s: %w", what, &PanicError{p.Value, p.Stack})
		default:
			err = fmt.Errorf("%s: %w", what, &PanicError{p, debug.Stack()})
		}
	}()
	return f()
}
