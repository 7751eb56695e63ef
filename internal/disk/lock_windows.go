package disk

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// errBusy says that another process, or another open file of this process, holds the lock.
var errBusy error = windows.ERROR_LOCK_VIOLATION

// lock locks a byte of an open file until it is closed or the process ends. The byte is far beyond the text, so that
// others can read the text.
var lock = func(f *os.File) error { return lockByte(f, &windows.Overlapped{OffsetHigh: 1 << 30}) }

// lockShared locks the byte that Python's filelock locks: the first one.
func lockShared(f *os.File) error { return lockByte(f, &windows.Overlapped{}) }

func lockByte(f *os.File, at *windows.Overlapped) error {
	const now = windows.LOCKFILE_EXCLUSIVE_LOCK | windows.LOCKFILE_FAIL_IMMEDIATELY
	err := windows.LockFileEx(windows.Handle(f.Fd()), now, 0, 1, 0, at)
	if errors.Is(err, windows.ERROR_NOT_SUPPORTED) || errors.Is(err, windows.ERROR_INVALID_FUNCTION) {
		return errNoLocks
	}
	return err
}

// release removes the file after closing it, because Windows cannot remove an open file. If another process has it
// open, it stays.
func release(f *os.File, path string) {
	f.Close()
	os.Remove(path)
}
