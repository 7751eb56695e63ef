//go:build !nogpu && linux

package fake

import (
	"syscall"
	"unsafe"
)

// sigaction is a signal handler as the kernel keeps it: handler, flags and more.
type sigaction [4]uint64

const (
	onStack    = 0x08000000 // SA_ONSTACK
	sigsetSize = 8
)

func rtSigaction(s syscall.Signal, set *sigaction) (was sigaction) {
	_, _, e := syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, uintptr(s), uintptr(unsafe.Pointer(set)),
		uintptr(unsafe.Pointer(&was)), sigsetSize, 0, 0)
	if e != 0 {
		panic("fake: rt_sigaction: " + e.Error())
	}
	return was
}

// Handler is the address of the process's handler of a signal.
func Handler(s syscall.Signal) uintptr { return uintptr(rtSigaction(s, nil)[0]) }

// install replaces the handler that m names for a function.
func (m *Machine) install(name string) {
	s, ok := m.Handlers[name]
	if !ok {
		return
	}
	own := rtSigaction(s, nil)
	foreign := callback(function{"a handler", func(signal uintptr) uintptr { return 0 }})
	own[0], own[1] = uint64(foreign), own[1]&^onStack
	rtSigaction(s, &own)
	m.Installed++
}
