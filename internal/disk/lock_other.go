//go:build !darwin && !dragonfly && !freebsd && !linux && !netbsd && !openbsd && !windows

package disk

import (
	"errors"
	"os"
)

var errBusy = errors.New("held by another process")

// lock fails: this system has no call for locks.
var lock = func(f *os.File) error { return errNoLocks }

func release(f *os.File, path string) {
	os.Remove(path)
	f.Close()
}

func lockShared(f *os.File) error { return lock(f) }
