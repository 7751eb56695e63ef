//go:build !nogpu && linux

// Package fake is NVIDIA's driver in Go, for tests: the functions of libcuda that package driver uses, called through
// the same C calling convention, on GPUs that are simulated.
//
// It enforces the driver's rules: a call needs the right context on its thread; work that is queued in a stream runs
// only when somebody waits for it, so that memory which is reused too early is detected; the host cannot read the
// memory of a GPU; the error of queued work is returned by a later call and all calls after that; a call that is
// forbidden while a stream is captured ends the capture. It counts what was not released, and makes calls fail when a
// test asks.
package fake

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"syscall"

	"github.com/ebitengine/purego"
	"golang.org/x/sys/unix"

	"github.com/zerosearch-go/zerosearch/kernels/cuda/internal/driver"
	"github.com/zerosearch-go/zerosearch/kernels/cuda/internal/ptxsim"
)

// Results: CUresult.
const (
	Success        = 0
	InvalidValue   = 1
	OutOfMemory    = 2
	NoDevice       = 100
	InvalidContext = 201
	InvalidHandle  = 400
	NotFound       = 500
	IllegalAddress = 700
	LaunchFailed   = 719
	invalidPTX     = 218
	uninitialised  = 3
)

// GPU is a GPU that the fake driver has.
type GPU struct {
	Name         string
	Major, Minor int
	Memory       int64
	MIG          bool // it is an instance of a GPU that is divided

	// Fail is Machine.Fail of the calls that are made while the GPU's context is current.
	Fail func(function string, n int) int

	calls map[string]int
	mem   ptxsim.Memory
	used  int64
	size  map[uint64]int64
	lost  bool
	bad   int // the result of work that failed; it stays
}

// Lose makes the GPU's next operation fail, and all operations after it, as if the GPU had been lost (Xid 79).
func (g *GPU) Lose() { g.lost = true }

// Machine is a computer with the fake driver. There is one at a time: New replaces it.
type Machine struct {
	Version int // of CUDA: 1000*major + 10*minor
	Init    int // the result of cuInit
	GPUs    []*GPU
	BLAS    BLAS
	NCCL    NCCL

	// Fail is asked before every call of the function with this name (without "cu" and suffix), the n-th of it from 1
	// on, and returns its result; 0: it does what it should.
	Fail func(function string, n int) int

	Fault    error          // of the first kernel that failed
	Calls    map[string]int // of each function, named as Fail names it
	Launches map[string]int // of each kernel

	// Handlers are signals for which a function installs a handler of its own, without SA_ONSTACK, as NVIDIA's
	// driver has been seen to do.
	Handlers  map[string]syscall.Signal
	Installed int // how many were

	mu      sync.Mutex
	cond    *sync.Cond // something has happened that a stream of a GPU may wait for
	ready   bool
	next    uintptr
	current map[int]int // contexts by thread: the GPU's number + 1
	streams map[uintptr]*stream
	events  map[uintptr]*event
	modules map[uintptr]*ptxsim.Module
	funcs   map[uintptr]*ptxsim.Kernel
	graphs  map[uintptr]*graph
	execs   map[uintptr]*graph
	pinned  map[uintptr][]byte
	opened  map[int]int // how often a primary context is retained
}

// stream is work that waits.
type stream struct {
	gpu   int
	queue []func() int
	done  int // how much of all that was ever queued has ended
	total int
	busy  bool // somebody runs it

	capture *capture // nil: what is queued runs
}

// event is a place in a stream.
type event struct {
	s  *stream
	at int

	captured bool // recorded while the stream was captured
}

var machine *Machine

// New makes a machine with a driver that supports CUDA 13.0 and with these GPUs.
func New(gpus ...*GPU) *Machine {
	machine = &Machine{Version: 13000, Calls: map[string]int{}, Launches: map[string]int{}, next: 0x5000,
		current: map[int]int{}, streams: map[uintptr]*stream{}, events: map[uintptr]*event{},
		modules: map[uintptr]*ptxsim.Module{},
		funcs:   map[uintptr]*ptxsim.Kernel{}, pinned: map[uintptr][]byte{}, graphs: map[uintptr]*graph{},
		execs: map[uintptr]*graph{}, opened: map[int]int{},
		BLAS: newBLAS(), NCCL: newNCCL()}
	machine.cond = sync.NewCond(&machine.mu)
	for _, g := range gpus {
		machine.Add(g)
	}
	return machine
}

// Add adds a GPU to the machine.
func (m *Machine) Add(g *GPU) *GPU {
	g.size, g.calls = map[uint64]int64{}, map[string]int{}
	m.GPUs = append(m.GPUs, g)
	return g
}

// Library is what the driver's library is called.
const Library = "libcuda.fake"

// Open opens GPU number i through the driver.
func (m *Machine) Open(i int) (*driver.GPU, error) {
	d, err := driver.Open(Library, m.Symbol)
	if err != nil {
		return nil, err
	}
	return d.GPU(i)
}

// Check returns the errors of kernels and what was not released.
func (m *Machine) Check() error {
	err := m.Fault
	if left := m.Left(); len(left) > 0 {
		err = errors.Join(err, fmt.Errorf("not given back: %v", left))
	}
	return err
}

// A100 returns a GPU of the oldest supported compute capability, 8.0, with little memory.
func A100() *GPU { return &GPU{Name: "Fake A100", Major: 8, Memory: 1 << 30} }

// Symbol finds a function, as dlsym does.
func (m *Machine) Symbol(name string) (uintptr, error) {
	return symbol(functions, name)
}

func symbol(functions []function, name string) (uintptr, error) {
	i := slices.IndexFunc(functions, func(f function) bool { return f.name == name })
	if i < 0 {
		return 0, fmt.Errorf("undefined symbol: %s", name)
	}
	return callback(functions[i]), nil
}

var (
	callbacks   = map[string]uintptr{}
	callbacksMu sync.Mutex
)

// callback makes a function callable from C. There is room for 2000 in a process, and they are never freed: each is
// made once.
func callback(f function) uintptr {
	callbacksMu.Lock()
	defer callbacksMu.Unlock()
	if callbacks[f.name] == 0 {
		callbacks[f.name] = purego.NewCallback(f.call)
	}
	return callbacks[f.name]
}

// Left lists what was not released.
func (m *Machine) Left() (what []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, g := range m.GPUs {
		if n := g.mem.Live(); n > 0 {
			what = append(what, fmt.Sprintf("%d allocations of %d bytes on GPU %d", n, g.used, i))
		}
	}
	for name, n := range map[string]int{"streams": len(m.streams), "events": len(m.events), "modules": len(m.modules),
		"pinned pieces": len(m.pinned), "graphs": len(m.graphs), "executable graphs": len(m.execs)} {
		if n > 0 {
			what = append(what, fmt.Sprintf("%d %s", n, name))
		}
	}
	what = append(what, m.BLAS.left()...)
	if n := len(m.NCCL.comms); n > 0 {
		what = append(what, fmt.Sprintf("%d of NCCL: communicators", n))
	}
	for i, n := range m.opened {
		if n > 0 {
			what = append(what, fmt.Sprintf("the context of GPU %d", i))
		}
	}
	slices.Sort(what)
	return what
}

// enter counts a call and asks Fail. The caller unlocks m if the result is 0.
func enter(name string) (m *Machine, r uintptr) {
	m = machine
	m.mu.Lock()
	m.Calls[name]++
	x := 0
	if m.Fail != nil {
		x = m.Fail(name, m.Calls[name])
	}
	if g := m.gpu(); x == 0 && g != nil {
		if g.calls[name]++; g.Fail != nil {
			x = g.Fail(name, g.calls[name])
		}
	}
	if x != 0 {
		m.mu.Unlock()
	}
	return m, uintptr(x)
}

// gpu is the GPU whose context is current on this thread, or nil.
func (m *Machine) gpu() *GPU {
	if i := m.current[unix.Gettid()]; i > 0 {
		return m.GPUs[i-1]
	}
	return nil
}

// handle is a number that nothing had before.
func (m *Machine) handle() uintptr {
	m.next += 8
	return m.next
}

// usable is the stream s and its GPU, or the result that refuses it: its context is not current, or its GPU has failed.
func (m *Machine) usable(s uintptr) (*GPU, *stream, uintptr) {
	g := m.gpu()
	if g == nil {
		return nil, nil, InvalidContext
	}
	x := m.streams[s]
	if x == nil || m.GPUs[x.gpu] != g {
		return nil, nil, InvalidHandle
	}
	return g, x, uintptr(g.bad)
}

// now is for what needs a stream and happens at once.
func (m *Machine) now(s uintptr, f func(g *GPU) uintptr) uintptr {
	g, x, r := m.usable(s)
	switch {
	case r != 0:
		return r
	case x.capture != nil:
		return x.capture.forbid(notSupported)
	}
	return f(g)
}

// inStream queues f in the stream s.
func (m *Machine) inStream(s uintptr, f func(g *GPU) int) uintptr {
	g, x, r := m.usable(s)
	switch {
	case r != 0:
	case x.capture != nil:
		return x.capture.add(f)
	default:
		x.total++
		x.queue = append(x.queue, func() int { return f(g) })
	}
	return r
}

// run does what was queued in s up to place at.
func (m *Machine) run(s *stream, at int) uintptr {
	g := m.GPUs[s.gpu]
	for s.busy {
		m.cond.Wait()
	}
	s.busy = true
	defer func() {
		s.busy = false
		m.cond.Broadcast()
	}()
	for s.done < at && len(s.queue) > 0 {
		f := s.queue[0]
		s.queue = s.queue[1:]
		s.done++
		switch {
		case g.bad != 0:
		case g.lost:
			g.bad = LaunchFailed
		default:
			g.bad = f()
		}
	}
	return uintptr(g.bad)
}
