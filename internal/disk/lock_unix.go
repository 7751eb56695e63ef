//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package disk

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// errBusy says that another process, or another open file of this process, holds the lock.
var errBusy error = unix.EWOULDBLOCK

// lock locks an open file with flock(2) until it is closed or the process ends. Linux supports it over NFS too.
var lock = func(f *os.File) error {
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.ENOLCK), errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EOPNOTSUPP),
			errors.Is(err, unix.EINVAL):
			return errNoLocks
		}
		return err
	}
}

// release removes the file while it is locked. A process that locks the removed file detects that in LockDir.
func release(f *os.File, path string) {
	os.Remove(path)
	f.Close()
}

// lockShared is lock: Python's filelock takes the same one.
func lockShared(f *os.File) error { return lock(f) }
