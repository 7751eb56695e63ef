package disk

import (
	"context"
	"errors"
	"os"
	"time"
)

// SharedLock is a lock of a file that programs in Python take too, with filelock. Its file stays when it is released.
type SharedLock struct{ f *os.File }

// sharedMode lets a group share a cache.
const sharedMode = 0o664

// lockPoll is how often WaitShared looks whether a lock is free.
const lockPoll = 50 * time.Millisecond

// TryShared takes the lock of the file path, which it creates; ok is false if another process holds it. On a file
// system without locks it succeeds.
func TryShared(path string) (l *SharedLock, ok bool, err error) {
	f, err := lockFile(path, sharedMode, lockShared)
	if errors.Is(err, errBusy) {
		return nil, false, nil
	}
	if err != nil && !errors.Is(err, errNoLocks) {
		return nil, false, err
	}
	return &SharedLock{f}, true, nil
}

// WaitShared is TryShared that waits until the lock is free or ctx ends. It calls waiting once, if it has to wait.
func WaitShared(ctx context.Context, path string, waiting func()) (*SharedLock, error) {
	for waited := false; ; waited = true {
		l, ok, err := TryShared(path)
		if err != nil || ok {
			return l, err
		}
		if !waited {
			waiting()
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(lockPoll):
		}
	}
}

// Unlock releases the lock.
func (l *SharedLock) Unlock() { l.f.Close() }
