package disk

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// LockName is the file in a folder that its writer holds a lock on. It is there while the folder is written to, and
// after a kill.
const LockName = ".lock"

// Lock is held by the process that writes to a folder. The system gives it back when the process ends, however it ends.
type Lock struct {
	dir  string
	f    *os.File
	made bool // the folder was made for this lock
	// Note is for the user where the file system has no locks, so that nobody is kept out; "" elsewhere.
	Note string
}

// Holder is the process that writes to a folder.
type Holder struct {
	PID   int       `json:"pid"`
	Host  string    `json:"host"`
	Since time.Time `json:"since"`
}

// Busy is the error of a folder that is being written to already.
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

// errNoLocks says that the file system has none.
var errNoLocks = errors.New("the file system has no locks")

// LockDir makes dir if it is not there and takes its lock. A folder that is being written to gives a Busy error at
// once.
func LockDir(dir string) (*Lock, error) {
	l := &Lock{dir: dir}
	if _, err := os.Stat(dir); os.IsNotExist(err) {
		l.made = true
	}
	for {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
		path := filepath.Join(dir, LockName)
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
		if os.IsNotExist(err) {
			continue // the process before made the folder, and removed it again
		}
		if err != nil {
			return nil, err
		}
		l.f = f
		switch err := lock(f); {
		case errors.Is(err, errNoLocks):
			l.Note = dir + " lies on a file system without locks: a second process that writes there would not be noticed"
		case err != nil:
			defer f.Close()
			if errors.Is(err, errBusy) {
				return nil, &Busy{Dir: dir, Holder: holder(path)}
			}
			return nil, fmt.Errorf("locking %s: %w", dir, err)
		}
		// The process before may have removed the file between opening and locking: then this is the lock of nothing.
		mine, err := f.Stat()
		now, err2 := os.Stat(path)
		if err == nil && err2 == nil && os.SameFile(mine, now) {
			break
		}
		f.Close()
	}
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

// holder reads who holds a lock. It may have been taken a moment ago.
func holder(path string) (h Holder) {
	for range 20 {
		if text, err := os.ReadFile(path); err == nil && json.Unmarshal(text, &h) == nil {
			return h
		}
		time.Sleep(5 * time.Millisecond)
	}
	return Holder{}
}

// Unlock gives the lock back, and removes the folder if it was made for the lock and holds nothing. A nil lock is fine.
func (l *Lock) Unlock() {
	if l == nil || l.f == nil {
		return
	}
	release(l.f, filepath.Join(l.dir, LockName))
	l.f = nil
	if l.made {
		os.Remove(l.dir) // not where something lies in it
	}
}
