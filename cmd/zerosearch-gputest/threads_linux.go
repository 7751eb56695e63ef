package main

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// eachThread sends a signal to every thread of this process: the kernel may choose any that does not block it.
func eachThread(s unix.Signal) (sent int, err error) {
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return 0, err
	}
	for _, t := range threads {
		id, err := strconv.Atoi(t.Name())
		if err != nil {
			return sent, err
		}
		switch err := unix.Tgkill(os.Getpid(), id, s); err {
		case nil:
			sent++
		case unix.ESRCH: // it has ended
		default:
			return sent, err
		}
	}
	return sent, nil
}
