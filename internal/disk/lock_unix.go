//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package disk

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// errBusy is that of a lock which another process, or another file of this one, holds.
var errBusy error = unix.EWOULDBLOCK

// lock takes the lock of an open file, which ends with the process: flock(2), which Linux also does over NFS.
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

// release removes the file while it is locked, so that nobody can hold a lock on what is about to vanish without seeing
// it.
func release(f *os.File, path string) {
	os.Remove(path)
	f.Close()
}
