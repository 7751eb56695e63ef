//go:build !nogpu && linux

package dist

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/zerosearch-go/zerosearch/internal/foreign"
)

// mpi is a transport over MPI. One OS thread calls MPI. It uses non-blocking operations and tests them until they are
// done, so that a waiting rank occupies no core, sends and receives heartbeats, and can end the run.
type mpi struct {
	*abi
	me, n  int
	calls  chan func() // functions for the thread to call
	life   *life
	ending atomic.Int32 // exit code of an abort, plus 1
	whole  *mpi         // the transport of all ranks, if this one has only the first of them; else nil

	request uintptr // request of the current operation; MPI writes here
	done    int32
}

// openMPIGroup connects the ranks of a launch.
func openMPIGroup(l launch, timeout time.Duration, lost func(text string)) (Group, error) {
	here := machine{os.Getenv, filepath.Glob, func(p string) bool {
		s, err := os.Stat(p)
		return err == nil && s.IsDir()
	}, func(path string) (string, func(string) (uintptr, error), error) { return foreign.Open(path, true) },
		foreign.ErrAbsent}
	lib, err := here.find(l)
	if err != nil {
		return nil, err
	}
	a, err := bind(lib)
	if err != nil {
		return nil, err
	}
	m := &mpi{abi: a, calls: make(chan func())}
	started := make(chan error)
	go m.thread(started, timeout, lost)
	if err := <-started; err != nil {
		return nil, err
	}
	if m.n != l.size {
		m.close()
		return nil, l.err(fmt.Sprintf("and %s (%s) sees %d: use the mpirun of that MPI, or name the library of the "+
			"other one in %s", m.version, lib.path, m.n, Variable))
	}
	return &ranks{t: m}, nil
}

// thread calls MPI until close.
func (m *mpi) thread(started chan<- error, timeout time.Duration, lost func(text string)) {
	runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
	if err := m.start(timeout, lost); err != nil {
		started <- err
		return
	}
	close(started)
	tick := time.NewTicker(beatEvery / 2)
	defer tick.Stop()
	for {
		select {
		case f, ok := <-m.calls:
			if !ok {
				return
			}
			f()
		case <-tick.C:
			m.watch()
		}
	}
}

// start initialises MPI.
func (m *mpi) start(timeout time.Duration, lost func(text string)) error {
	var provided int32
	rc := foreign.Call(m.InitThread, 0, 0, threadFunneled, addressOf(&provided))
	if err := m.check("joining the ranks", rc); err != nil {
		return err
	}
	var me, n int32
	var beats uintptr
	foreign.Call(m.CommSetErrhandler, m.world, m.errorsReturn)
	foreign.Call(m.CommRank, m.world, addressOf(&me))
	foreign.Call(m.CommSize, m.world, addressOf(&n))
	m.me, m.n = int(me), int(n)
	rc = foreign.Call(m.CommDup, m.world, addressOf(&beats))
	if err := m.check("joining the ranks", rc); err != nil {
		return err
	}
	foreign.Call(m.CommSetErrhandler, beats, m.errorsReturn)
	m.life = newLife(m, beats, timeout, lost)
	return nil
}

// on runs f on the thread and returns its error.
func (m *mpi) on(f func() error) error {
	done := make(chan error, 1)
	m.calls <- func() { done <- f() }
	return <-done
}

// watch sends and receives heartbeats, and ends the run if that was asked for.
func (m *mpi) watch() {
	if m.whole != nil {
		m.whole.watch()
		return
	}
	if code := m.ending.Load(); code > 0 {
		m.end(int(code - 1))
	}
	m.life.beat(time.Now())
}

// abortWithin is the time that MPI has to end all ranks. Without a network it would wait for the launcher; after this
// time the process exits by itself.
const abortWithin = 3 * time.Second

// end ends the processes of all ranks.
func (m *mpi) end(code int) {
	time.AfterFunc(abortWithin, func() { os.Exit(code) })
	time.Sleep(200 * time.Millisecond) // time for the launcher to forward the last output
	foreign.Call(m.Abort, m.world, uintptr(code))
	os.Exit(code) // MPI_Abort does not return
}

// wait tests the current operation until it is done. A transfer is short and is tested often. Waiting for other ranks
// may take long, so it is tested less often, which leaves the core to other work.
func (m *mpi) wait(doing string, started uintptr, transfer bool) error {
	if err := m.check(doing, started); err != nil {
		return err
	}
	for tries := 0; ; tries++ {
		m.done = 0
		rc := foreign.Call(m.Test, addressOf(&m.request), addressOf(&m.done), m.ignore)
		if err := m.check(doing, rc); err != nil {
			return err
		}
		switch {
		case m.done != 0:
			return nil
		case tries < 200:
			runtime.Gosched()
			continue
		case transfer:
			if tries%64 == 0 {
				time.Sleep(20 * time.Microsecond)
			}
		default:
			time.Sleep(min(time.Duration(tries)*time.Microsecond, 2*time.Millisecond))
		}
		m.watch()
	}
}

func (m *mpi) name() string { return m.version }

func (m *mpi) rank() int { return m.me }

func (m *mpi) size() int { return m.n }

func (m *mpi) headers(own header) ([]header, error) {
	send, recv := make([]byte, headerBytes), make([]byte, headerBytes*m.n)
	own.put(send)
	err := m.on(func() error {
		return m.wait("waiting for the other ranks", foreign.Call(m.Iallgather, address(send), headerBytes,
			m.bytes, address(recv), headerBytes, m.bytes, m.world, addressOf(&m.request)), false)
	})
	runtime.KeepAlive(send)
	if err != nil {
		return nil, err
	}
	all := make([]header, m.n)
	for r := range all {
		all[r] = getHeader(recv[r*headerBytes:])
	}
	return all, nil
}

func (m *mpi) allToAll(recv []byte, received []int, send []byte, sent []int) error {
	list := [4][]int32{counts(sent), counts(offsets(sent)), counts(received), counts(offsets(received))}
	err := m.on(func() error {
		return m.wait("sending to all ranks", foreign.Call(m.Ialltoallv, address(send), address(list[0]),
			address(list[1]), m.bytes, address(recv), address(list[2]), address(list[3]), m.bytes, m.world,
			addressOf(&m.request)), true)
	})
	runtime.KeepAlive(send)
	runtime.KeepAlive(recv)
	runtime.KeepAlive(&list)
	return err
}

func (m *mpi) allGather(recv []byte, sizes []int, own []byte) error {
	n, at := counts(sizes), counts(offsets(sizes))
	err := m.on(func() error {
		return m.wait("gathering from all ranks", foreign.Call(m.Iallgatherv, address(own), uintptr(len(own)), m.bytes,
			address(recv), address(n), address(at), m.bytes, m.world, addressOf(&m.request)), true)
	})
	runtime.KeepAlive(own)
	runtime.KeepAlive(recv)
	runtime.KeepAlive(n)
	runtime.KeepAlive(at)
	return err
}

func (m *mpi) broadcast(from int, data []byte) error {
	err := m.on(func() error {
		return m.wait("sending to all ranks", foreign.Call(m.Ibcast, address(data), uintptr(counts([]int{len(data)})[0]),
			m.bytes, uintptr(from), m.world, addressOf(&m.request)), true)
	})
	runtime.KeepAlive(data)
	return err
}

// head makes a communicator of the first n ranks, and one of the others, which is not used.
func (m *mpi) head(n int) (transport, error) {
	x := &mpi{me: m.me, n: n, calls: m.calls, whole: m}
	own := *m.abi
	x.abi = &own
	err := m.on(func() error {
		color := uintptr(0)
		if m.me >= n {
			color = 1
		}
		rc := foreign.Call(m.CommSplit, m.world, color, uintptr(m.me), addressOf(&own.world))
		if err := m.check("dividing the ranks", rc); err != nil {
			return err
		}
		foreign.Call(m.CommSetErrhandler, own.world, m.errorsReturn)
		return nil
	})
	return x, err
}

func (m *mpi) abort(code int) {
	if m.whole != nil {
		m.whole.abort(code)
	}
	m.ending.CompareAndSwap(0, int32(code)+1)
	select {} // the thread ends the process
}

// closeWithin is the time that MPI_Finalize may take: that of MPICH 4.0 over TCP (UCX) sometimes never returns. All
// ranks have told each other before that they are done, so that nothing is lost.
const closeWithin = 3 * time.Second

func (m *mpi) close() error {
	if m.whole != nil {
		return nil
	}
	done := make(chan error, 1)
	go func() {
		done <- m.on(func() error {
			m.life.end()
			return m.check("leaving the ranks", foreign.Call(m.Finalize))
		})
		close(m.calls)
	}()
	select {
	case err := <-done:
		return err
	case <-time.After(closeWithin):
		return nil
	}
}

// counts converts numbers of bytes to MPI's type.
func counts(x []int) []int32 {
	out := make([]int32, len(x))
	for i, v := range x {
		if v > math.MaxInt32 {
			panic(fmt.Sprintf("dist: %d bytes in one operation, and MPI takes 2 GiB", v))
		}
		out[i] = int32(v)
	}
	return out
}
