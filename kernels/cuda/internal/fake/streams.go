//go:build !nogpu && linux

package fake

import "golang.org/x/sys/unix"

func cuCtxSetCurrent(ctx uintptr) uintptr {
	return ask("CtxSetCurrent", func(m *Machine) uintptr {
		if ctx != 0 && m.opened[int(ctx)-1] == 0 {
			return InvalidContext
		}
		m.current[unix.Gettid()] = int(ctx)
		return 0
	})
}

func cuStreamCreate(s *uintptr, flags uintptr) uintptr {
	return ask("StreamCreate", func(m *Machine) uintptr {
		i := m.current[unix.Gettid()]
		if i == 0 {
			return InvalidContext
		}
		*s = m.handle()
		m.streams[*s] = &stream{gpu: i - 1}
		return 0
	})
}

func cuStreamDestroy(s uintptr) uintptr {
	return ask("StreamDestroy", func(m *Machine) uintptr {
		x := m.streams[s]
		if x == nil {
			return InvalidHandle
		}
		delete(m.streams, s)
		x.capture = nil
		return m.run(x, x.total)
	})
}

func cuStreamSynchronize(s uintptr) uintptr {
	return ask("StreamSynchronize", func(m *Machine) uintptr {
		x := m.streams[s]
		switch {
		case m.gpu() == nil:
			return InvalidContext
		case x == nil:
			return InvalidHandle
		case x.capture != nil:
			return x.capture.forbid(streamCaptureUnsupported)
		}
		return m.run(x, x.total)
	})
}

func cuEventCreate(e *uintptr, flags uintptr) uintptr {
	return ask("EventCreate", func(m *Machine) uintptr {
		if m.gpu() == nil {
			return InvalidContext
		}
		*e = m.handle()
		m.events[*e] = &event{}
		return 0
	})
}

func cuEventDestroy(e uintptr) uintptr {
	return ask("EventDestroy", func(m *Machine) uintptr { return forget(m.events, e, InvalidHandle) })
}

func cuEventRecord(e, s uintptr) uintptr {
	return ask("EventRecord", func(m *Machine) uintptr {
		x, y := m.events[e], m.streams[s]
		if x == nil || y == nil {
			return InvalidHandle
		}
		if c := y.capture; c != nil && c.invalid {
			return streamCaptureInvalidated
		}
		*x = event{y, y.total, y.capture != nil}
		return 0
	})
}

func cuEventSynchronize(e uintptr) uintptr {
	return ask("EventSynchronize", func(m *Machine) uintptr {
		x := m.events[e]
		switch {
		case m.gpu() == nil:
			return InvalidContext
		case x == nil:
			return InvalidHandle
		case x.captured:
			return m.forbidCaptured(x)
		}
		if r := m.forbidThread(); r != 0 || x.s == nil {
			return r
		}
		return m.run(x.s, x.at)
	})
}
