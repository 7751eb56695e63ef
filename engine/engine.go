// Package engine runs models for many callers at once. It batches pending requests (continuous batching), keeps keys
// and values between requests (prefix caching), and gives every caller the same bits as if its request ran alone.
//
//	e := engine.New(dev, engine.Options{})
//	defer e.Close()
//	err := e.AddModel("policy", m, engine.ModelOptions{})
//	res, err := e.Generate(ctx, engine.Request{Model: "policy", Prompt: ids, MaxTokens: 256, Temperature: 1, Stream: engine.Stream(seed, 7)})
//
// One goroutine, the loop, owns the device. Generate and Score may be called from any number of goroutines: write each
// episode as straight-line code and start hundreds. Use Do to save or load checkpoints, which need the device too, and
// Change to train: it drops what was computed with the old weights.
//
// The scheduler is a pure state machine (scheduler.go) over the page tables of package kvcache. Each step becomes a
// batch of segments (batch.go) and runs as one forward pass followed by sampling (queuedpass.go, sampler.go). Random
// numbers depend on the request's stream and the position only (rng.go).
//
// On a device that is kernels.Asynchronous the loop is one step ahead: while the device runs a step, the loop plans and
// queues the next one for the sequences that continue. The next step reads their sampled ids on the device. What it
// computed for a sequence that has ended meanwhile is dropped. Decode passes of a kernels.Recorder are replayed from
// recordings (recordings.go). No result depends on either.
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

// Options are the settings of an engine.
type Options struct {
	// LogitsBytes bounds the memory for a model's logits: sampled rows are processed in chunks of this size. 0: 64 MiB.
	LogitsBytes int64
	// Note is called with messages that belong to no request, such as why a model's passes are not recorded. It is
	// called between passes and must not call the engine. It may be nil.
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

	sched   scheduler // this field and those below are used by the loop only
	lanes   map[*lane]*runner
	queued  []*queuedPass // passes that the device is running: at most one while the next is prepared
	settled time.Time     // when the last results arrived
}

// arrival is a request, or a task that needs exclusive use of the device.
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

// change records that weights have changed.
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

// newEngine makes an engine without starting its loop.
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
// the device still belong to the caller. It must not be called inside Do.
func (e *Engine) Close() {
	e.mu.Lock()
	e.closed = true
	e.wake.Signal()
	e.mu.Unlock()
	<-e.stopped
}

// Do runs f with exclusive use of the device: earlier requests finish first, later ones wait. Use it to write
// checkpoints and load models beside a running engine; see Change for training. f may call Invalidate, but no other
// method of the engine: they would wait for f to end. A panic of f becomes an error. If ctx ends before f begins, f is
// not run.
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

// Change is Do for an f that changes weights: those of adapter a, or of the model itself if a is nil. Cached results of
// the old weights are dropped, also if f fails. If only an adapter changed, those of other adapters and of the base
// stay.
func (e *Engine) Change(ctx context.Context, model string, a *model.Adapter, f func() error) error {
	return e.Do(ctx, func() error {
		defer e.invalidate(model, a, a == nil)
		return f()
	})
}

// Invalidate tells the engine that the weights of a model have changed: cached keys and values of the old weights are
// dropped. Running sequences continue with the new weights. It may be called from any goroutine; unknown names are
// ignored.
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

// keyOf is the cache key of an adapter's pages; 0 is the base.
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

// withdraw removes an arrival that the loop has not seen, and reports whether it did.
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
		// A task or a stop function has ended this goroutine (runtime.Goexit, as by t.FailNow): fail all callers, or
		// they would wait forever.
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

// next processes events and waits until there is work: a task, or a step (nil). It returns false if the engine is
// closed.
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
		if len(e.inbox) > 0 { // a task, and all requests before it are done
			t := e.inbox[0].task
			e.inbox = e.inbox[1:]
			return t, true
		}
		e.wake.Wait()
	}
	return nil, false
}

// interrupted reports whether there is an event that can be processed only when no pass is running. e.mu is held.
func (e *Engine) interrupted() bool {
	return len(e.queued) > 0 && len(e.cancels)+len(e.changes) > 0
}

// takeIn passes events to the scheduler, up to the first task. Later events stay in the inbox.
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

// step does one pass of one model: schedule, lay out, run, collect. On an asynchronous device it collects the results
// of the pass before.
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

// layOut returns the next pass, or nil if none can be planned before the running pass is collected.
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

// collect waits for the running passes, except the last few, and processes their results.
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

// fail ends all requests with err and clears all caches, because the contents of the device's memory are unknown after
// a failure.
func (e *Engine) fail(err error) {
	for _, f := range e.queued {
		if f.ticket != nil {
			f.ticket.Wait() // until then the device may write into host memory of the pass
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

// release frees everything when the loop ends.
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

// PanicError is a panic of a device or of a caller's function that the engine caught. Its text is one line; Stack is
// the stack of the panic.
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
		case *kernels.Panic: // from a worker goroutine of the device
			err = fmt.Errorf("%s: %w", what, &PanicError{p.Value, p.Stack})
		default:
			err = fmt.Errorf("%s: %w", what, &PanicError{p, debug.Stack()})
		}
	}()
	return f()
}
