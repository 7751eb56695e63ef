package disk

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// LockName is the lock file of a folder. It exists while a process writes to the folder, and after that process was
// killed.
const LockName = ".lock"

// Lock is held by the process that writes to a folder. The operating system releases it when the process ends, even if
// it is killed.
type Lock struct {
	dir  string
	f    *os.File
	made bool // LockDir created the folder
	// Note tells the user that the file system has no locks, so that other writers are not detected; "" if it has.
	Note string
}

// Holder is the process that writes to a folder.
type Holder struct {
	PID   int       `json:"pid"`
	Host  string    `json:"host"`
	Since time.Time `json:"since"`
}

// Busy is the error of a folder that is locked already.
type Busy struct {
	Dir string
	Holder
}

func (b *Busy) Error() string {
	host, _ := os.Hostname()
	if b.PID == os.Getpid() && b.Host == host {
		return fmt.Sprintf("this process is writing to %s already", b.Dir)
	}
	who := ""
	if b.PID != 0 {
		who = fmt.Sprintf(" (process %d", b.PID)
		if b.Host != host {
			who += " on " + b.Host
		}
		who += ", since " + b.Since.Local().Format("2006-01-02 15:04:05") + ")"
	}
	return fmt.Sprintf("another process is writing to %s%s: wait until it ends, or choose another folder", b.Dir, who)
}

// errNoLocks says that the file system has no locks.
var errNoLocks = errors.New("the file system has no locks")

// LockDir creates dir if it does not exist and takes its lock. If another process holds the lock, LockDir returns a
// Busy error at once.
func LockDir(dir string) (*Lock, error) {
	l := &Lock{dir: dir}
	if _, err := os.Stat(dir); os.IsNotExist(err) {
		l.made = true
	}
	path := filepath.Join(dir, LockName)
	f, err := lockFile(path, 0o666, lock)
	switch {
	case errors.Is(err, errNoLocks):
		l.Note = dir +
			" lies on a file system without locks: a second process that writes there would not be noticed"
	case errors.Is(err, errBusy):
		return nil, &Busy{Dir: dir, Holder: holder(path)}
	case err != nil:
		return nil, err
	}
	l.f = f
	host, _ := os.Hostname()
	text, err := json.Marshal(Holder{os.Getpid(), host, time.Now().Truncate(time.Second)})
	if err == nil {
		if err = l.f.Truncate(0); err == nil {
			_, err = l.f.WriteAt(append(text, '\n'), 0)
		}
	}
	if err != nil {
		l.Unlock()
		return nil, at(dir, err)
	}
	return l, nil
}

// lockFile makes the file path with its folders and locks it with take. With errNoLocks the file is open and not
// locked; with any other error, errBusy among them, it is nil.
func lockFile(path string, mode fs.FileMode, take func(*os.File) error) (*os.File, error) {
	for {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return nil, err
		}
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, mode)
		if os.IsNotExist(err) {
			continue // the previous holder removed the folder between MkdirAll and OpenFile
		}
		if err != nil {
			return nil, err
		}
		err = take(f)
		if err != nil && !errors.Is(err, errNoLocks) {
			f.Close()
			return nil, fmt.Errorf("locking %s: %w", path, err)
		}
		// The previous holder may have removed the file between opening and locking. Then the lock is worthless: try
		// again.
		mine, err1 := f.Stat()
		now, err2 := os.Stat(path)
		if err1 == nil && err2 == nil && os.SameFile(mine, now) {
			return f, err
		}
		f.Close()
	}
}

// holder reads the holder of a lock. It retries, because the holder writes the file just after taking the lock.
func holder(path string) (h Holder) {
	for range 20 {
		if text, err := os.ReadFile(path); err == nil && json.Unmarshal(text, &h) == nil {
			return h
		}
		time.Sleep(5 * time.Millisecond)
	}
	return Holder{}
}

// Unlock releases the lock, and removes the folder if LockDir created it and it is empty. A nil lock is allowed.
func (l *Lock) Unlock() {
	if l == nil || l.f == nil {
		return
	}
	release(l.f, filepath.Join(l.dir, LockName))
	l.f = nil
	if l.made {
		os.Remove(l.dir) // fails if it is not empty
	}
}
