//go:build !nogpu && linux

package fake

import "golang.org/x/sys/unix"

// Results of graphs and of capture: CUresult.
const (
	illegalState             = 401
	notSupported             = 801
	streamCaptureUnsupported = 900
	streamCaptureInvalidated = 901
	capturedEvent            = 907
	captureWrongThread       = 908
)

// Modes of capture: CUstreamCaptureMode.
const (
	captureGlobal      = 0
	captureThreadLocal = 1
	captureRelaxed     = 2
)

// capture is what is done to a stream between cuStreamBeginCapture and cuStreamEndCapture: it is kept and does not run.
type capture struct {
	thread  int
	mode    uintptr
	work    []func(*GPU) int
	invalid bool // a rule was broken: nothing comes of it
}

// graph is work that was captured, executable or not.
type graph struct {
	gpu  int
	work []func(*GPU) int
}

func (c *capture) add(f func(g *GPU) int) uintptr {
	if c.invalid {
		return streamCaptureInvalidated
	}
	c.work = append(c.work, f)
	return Success
}

// forbid ends what c is good for.
func (c *capture) forbid(result uintptr) uintptr {
	if c.invalid {
		return streamCaptureInvalidated
	}
	c.invalid = true
	return result
}

// unsafeInCapture are functions that a graph would not repeat and that may wait for the GPU. A thread that captures
// must not call them unless its mode is relaxed, nor any thread while one captures in the global mode. cuMemAllocAsync
// is not among them: in a captured stream it gives memory of the graph, which this driver does not have. Nor is
// cuEventSynchronize, which looks at its event first.
var unsafeInCapture = map[string]bool{
	"MemHostAlloc": true, "MemFreeHost": true, "ModuleLoadDataEx": true, "ModuleUnload": true,
}

// forbidThread invalidates the captures that an unsafe call on this thread breaks.
func (m *Machine) forbidThread() uintptr {
	r := uintptr(0)
	for _, s := range m.streams {
		if c := s.capture; c != nil && (c.mode == captureGlobal || c.mode == captureThreadLocal &&
			c.thread == unix.Gettid()) {
			c.invalid = true
			r = streamCaptureUnsupported
		}
	}
	return r
}

// forbidCaptured is for waiting for an event that lies in a capture.
func (m *Machine) forbidCaptured(e *event) uintptr {
	if c := e.s.capture; c != nil {
		c.invalid = true
	}
	return capturedEvent
}

func cuStreamBeginCapture(s, mode uintptr) uintptr {
	return ask("StreamBeginCapture", func(m *Machine) uintptr {
		x := m.streams[s]
		switch {
		case m.gpu() == nil:
			return InvalidContext
		case x == nil:
			return InvalidHandle
		case mode > captureRelaxed:
			return InvalidValue
		case x.capture != nil:
			return illegalState
		}
		x.capture = &capture{thread: unix.Gettid(), mode: mode}
		return 0
	})
}

func cuStreamEndCapture(s uintptr, out *uintptr) uintptr {
	return ask("StreamEndCapture", func(m *Machine) uintptr {
		x := m.streams[s]
		*out = 0
		if x == nil {
			return InvalidHandle
		}
		c := x.capture
		if c == nil {
			return illegalState
		}
		x.capture = nil
		switch {
		case c.mode != captureRelaxed && c.thread != unix.Gettid():
			return captureWrongThread
		case c.invalid:
			return streamCaptureInvalidated
		}
		*out = m.handle()
		m.graphs[*out] = &graph{x.gpu, c.work}
		return 0
	})
}

func cuGraphInstantiate(out *uintptr, g, flags uintptr) uintptr {
	return ask("GraphInstantiate", func(m *Machine) uintptr {
		if m.graphs[g] == nil || flags != 0 {
			return InvalidValue
		}
		*out = m.handle()
		m.execs[*out] = m.graphs[g]
		return 0
	})
}

func cuGraphDestroy(g uintptr) uintptr {
	return ask("GraphDestroy", func(m *Machine) uintptr { return forget(m.graphs, g, InvalidValue) })
}

// cuGraphLaunch queues what was captured as one piece of work.
func cuGraphLaunch(e, s uintptr) uintptr {
	return ask("GraphLaunch", func(m *Machine) uintptr {
		x := m.execs[e]
		if x == nil {
			return InvalidValue
		}
		return m.inStream(s, func(g *GPU) int {
			for _, f := range x.work {
				if r := f(g); r != 0 {
					return r
				}
			}
			return 0
		})
	})
}

func cuGraphExecDestroy(e uintptr) uintptr {
	return ask("GraphExecDestroy", func(m *Machine) uintptr { return forget(m.execs, e, InvalidValue) })
}
