//go:build !nogpu && linux

package driver

import (
	"syscall"
	"unsafe"
)

// action is a signal handler as the kernel keeps it: struct sigaction of rt_sigaction(2). Only its first word, the
// handler, is looked at.
type action [4]uint64

const (
	lastSignal = 64
	sigsetSize = 8
)

// signalAction reads the action of a signal and, unless set is nil, sets it.
func signalAction(signal int, set *action) (was action, ok bool) {
	_, _, e := syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, uintptr(signal), uintptr(unsafe.Pointer(set)),
		uintptr(unsafe.Pointer(&was)),
		sigsetSize, 0, 0)
	return was, e == 0
}

// keepSignals notes all signal handlers; the function that it returns puts back those that were replaced since.
// NVIDIA's driver installs handlers without SA_ONSTACK when it is loaded or opened. They would run on the small stack
// of a goroutine, where the first Ctrl-C is a crash. Left alone are the signals that the C library uses between its
// threads, and handlers that Go has installed meanwhile.
func keepSignals() (restore func()) {
	var were [lastSignal + 1]action
	for s := 1; s <= lastSignal; s++ {
		were[s], _ = signalAction(s, nil)
	}
	ours := were[syscall.SIGURG][0] // which Go always handles
	return func() {
		for s := 1; s <= lastSignal; s++ {
			if s >= 32 && s <= 34 {
				continue
			}
			if now, ok := signalAction(s, nil); ok && now[0] != were[s][0] && now[0] != ours {
				signalAction(s, &were[s])
			}
		}
	}
}
