package cpu

import (
	"errors"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/zerosearch-go/zerosearch/kernels"
)

const (
	maxThreads = 1024
	// spinFor is how long a worker without work keeps its processor: longer than the gaps between the operations of a
	// step, far shorter than anything a person or a timer notices.
	spinFor = 60 * time.Microsecond
	// spinPolls is how often a worker looks for work before it lets other goroutines run: about a microsecond.
	spinPolls = 32
	// yieldEvery is how often a worker that always finds work lets other goroutines run: operations may follow each
	// other so closely that it never waits, and the scheduler would step in after 10 ms only.
	yieldEvery = 200 * time.Microsecond
)

// pool runs tasks on a fixed set of goroutines. Within a step its workers spin, so that a fork and join costs about a
// microsecond; idle ones park after spinFor and give their processor back. Another goroutine never waits long: a
// spinning worker yields every microsecond, and a busy one after yieldEvery and the task under way.
//
// Every worker has a share of consecutive tasks, which it takes from the front. A worker whose share is done steals
// from the back of the other shares. So a worker mostly touches the same memory in successive operations, while it
// still lies in its cache (a product of 40 rows takes 82 us instead of 100). A worker that starts late, because the
// scheduler gave its processor to another goroutine, delays nothing: other workers have taken its tasks. The caller
// works too, and waits only for tasks that were claimed. With one thread everything runs in the caller.
//
// When a task panics, unclaimed tasks are dropped. Run waits for the tasks under way and then panics in the caller:
// with the caller's own panic, or else with a *kernels.Panic that holds the first panic of a worker. The pool can be
// used again afterwards. This costs nothing per task: a function is deferred once per Run, and once for all that a
// worker does before it parks.
type pool struct {
	threads int
	f       func(worker, task int) // written before shares; read by holders of a valid claim only
	shares  []share                // of the workers

	_      [64]byte
	left   atomic.Int64 // tasks not finished
	_      [56]byte
	parked atomic.Int32 // workers that wait for wake, or are about to
	closed atomic.Bool
	failed atomic.Pointer[kernels.Panic] // the first panic of a worker in the current Run
	_      [56]byte
	wake   chan struct{}
}

// share is the range [front, back) of unclaimed tasks, as back << 32 | front.
type share struct {
	left atomic.Uint64
	_    [56]byte
}

// claim takes a task from the front or from the back.
func (s *share) claim(front bool) (task int, ok bool) {
	for {
		t := s.left.Load()
		lo, hi := uint32(t), uint32(t>>32)
		if lo >= hi {
			return 0, false
		}
		if front {
			if s.left.CompareAndSwap(t, t+1) {
				return int(lo), true
			}
		} else if s.left.CompareAndSwap(t, t-1<<32) {
			return int(hi - 1), true
		}
	}
}

func newPool(threads int) *pool {
	p := &pool{threads: threads, shares: make([]share, threads), wake: make(chan struct{}, threads)}
	for w := 1; w < threads; w++ {
		go p.work(w)
	}
	return p
}

// Run calls f(0) ... f(n-1), each once, on any thread, and returns when all have finished. f must not call Run: that
// panics.
func (p *pool) Run(n int, f func(task int)) {
	p.RunWorker(n, func(_, task int) { f(task) })
}

// RunWorker is Run for tasks that need scratch memory per worker: worker is in [0, threads) and no two tasks with the
// same worker run at the same time. Which worker runs a task changes from call to call: results must not depend on it.
func (p *pool) RunWorker(n int, f func(worker, task int)) {
	if p.threads == 1 || n <= 1 {
		for i := range n {
			f(0, i)
		}
		return
	}
	if p.left.Load() != 0 {
		panic("cpu: an operation began while another was under way: two goroutines use one device, " +
			"or a task began another operation")
	}
	p.f = f
	p.left.Store(int64(n))
	for w := range p.shares {
		lo, hi := n*w/p.threads, n*(w+1)/p.threads
		p.shares[w].left.Store(uint64(hi)<<32 | uint64(lo))
	}
	for range min(int(p.parked.Load()), n-1) {
		select {
		case p.wake <- struct{}{}:
		default:
		}
	}
	p.lead()
	if p.failed.Load() != nil {
		panic(p.failed.Swap(nil))
	}
}

// lead runs tasks in the caller, then waits for the workers.
func (p *pool) lead() {
	completed := false
	defer func() {
		if !completed { // a task panicked in the caller: the panic continues when the other tasks have finished
			p.abandon()
			p.wait()
			p.failed.Store(nil)
		}
	}()
	p.drain(0)
	p.wait()
	completed = true
}

// wait returns when no task is unfinished.
func (p *pool) wait() {
	for polls := 0; p.left.Load() != 0; polls++ {
		if pause(); polls%spinPolls == spinPolls-1 {
			runtime.Gosched()
		}
	}
}

// abandon ends a Run whose task has panicked: unclaimed tasks are not run, and the caller's own is over.
func (p *pool) abandon() {
	for w := range p.shares {
		for {
			if _, ok := p.shares[w].claim(true); !ok {
				break
			}
			p.left.Add(-1)
		}
	}
	p.left.Add(-1) // the last: from here on another Run may begin
}

// drain runs tasks until none is unclaimed and reports whether it ran any.
func (p *pool) drain(worker int) bool {
	ran := false
	for i := 0; i < p.threads && p.left.Load() > 0; i++ {
		s := &p.shares[(worker+i)%p.threads]
		for {
			task, ok := s.claim(i == 0)
			if !ok {
				break
			}
			p.f(worker, task)
			p.left.Add(-1)
			ran = true
		}
	}
	return ran
}

func (p *pool) work(worker int) {
	for !p.closed.Load() {
		p.shift(worker)
	}
}

var errExit = errors.New("a task called runtime.Goexit")

// shift lets a worker run tasks until it parks, or until a task panics.
func (p *pool) shift(worker int) {
	completed := false
	defer func() {
		if completed {
			return
		}
		v := recover()
		if v == nil {
			v = errExit
			go p.work(worker) // in place of this goroutine
		}
		p.failed.CompareAndSwap(nil, &kernels.Panic{Value: v, Stack: debug.Stack()})
		p.abandon()
	}()
	p.poll(worker)
	completed = true
}

// poll runs tasks until there have been none for spinFor, then parks and returns when it is woken.
func (p *pool) poll(worker int) {
	idle := time.Now()
	yielded := idle
	for polls := 0; !p.closed.Load(); polls++ {
		if p.drain(worker) {
			idle, polls = time.Now(), 0
			if idle.Sub(yielded) > yieldEvery {
				runtime.Gosched()
				yielded = idle
			}
			continue
		}
		if pause(); polls%spinPolls != spinPolls-1 {
			continue
		}
		runtime.Gosched()
		if time.Since(idle) < spinFor {
			continue
		}
		p.park(worker)
		return
	}
}

// park waits until the worker is woken, unless there is something to do. parked is raised before the last look, Run
// stores shares before it reads parked: one of the two sees the other.
func (p *pool) park(worker int) {
	p.parked.Add(1)
	defer p.parked.Add(-1)
	if !p.drain(worker) && !p.closed.Load() {
		<-p.wake
	}
}

func (p *pool) close() {
	p.closed.Store(true)
	for range p.threads {
		select {
		case p.wake <- struct{}{}:
		default:
		}
	}
}
