package disk

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// errBusy is that of a lock which another process, or another file of this one, holds.
var errBusy error = windows.ERROR_LOCK_VIOLATION

// lock takes the lock of an open file, which ends with the process. It covers a byte far behind the text, so that
// others can read that.
var lock = func(f *os.File) error {
	at := &windows.Overlapped{OffsetHigh: 1 << 30}
	const now = windows.LOCKFILE_EXCLUSIVE_LOCK | windows.LOCKFILE_FAIL_IMMEDIATELY
	err := windows.LockFileEx(windows.Handle(f.Fd()), now, 0, 1, 0, at)
	if errors.Is(err, windows.ERROR_NOT_SUPPORTED) || errors.Is(err, windows.ERROR_INVALID_FUNCTION) {
		return errNoLocks
	}
	return err
}

// release removes the file after closing it, because an open one cannot be; where another process has it open by then,
// it stays.
func release(f *os.File, path string) {
	f.Close()
	os.Remove(path)
}
