// Package disk writes files and folders atomically, and locks folders so that only one process at a time writes to
// them.
package disk

import (
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
)

// Prefixes of temporary names. A process that is killed leaves such files and folders behind; Recover removes them.
const (
	writing  = ".writing-"  // being written
	replaced = ".replaced-" // the old folder, until the new one has its name
	removing = ".removing-" // being removed
)

// WriteFile writes data to the file path atomically: see Write.
func WriteFile(path string, data []byte) error {
	return Write(path, 0o666, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

// Write replaces the file path atomically with what fill writes: fill writes to a temporary file beside it, which is
// synced and then renamed. A reader sees either the old file or the new one. mode is the mode of a new file, before the
// umask. A symbolic link is followed. If path is not a regular file, such as /dev/stdout, fill writes to it directly.
// Errors of the file system contain path.
func Write(path string, mode fs.FileMode, fill func(io.Writer) error) error {
	final, direct := target(path)
	temp := final
	flags := os.O_WRONLY
	if !direct {
		temp = Temporary(final)
		flags |= os.O_CREATE | os.O_EXCL
	}
	f, err := os.OpenFile(temp, flags, mode)
	if err != nil {
		return at(path, err)
	}
	err = fill(f)
	if !direct {
		err = first(err, f.Sync())
	}
	err = first(err, f.Close())
	if direct {
		return at(path, err)
	}
	if err == nil {
		err = os.Rename(temp, final)
	}
	if err != nil {
		os.Remove(temp)
		return at(path, err)
	}
	syncDir(filepath.Dir(final))
	return nil
}

// target resolves symbolic links. direct reports that path exists and is neither a regular file nor a folder.
func target(path string) (final string, direct bool) {
	st, err := os.Stat(path)
	if err != nil {
		return path, false
	}
	if !st.Mode().IsRegular() && !st.IsDir() {
		return path, true
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real, false
	}
	return path, false
}

// Same reports whether two paths are the same file or folder.
func Same(a, b string) bool {
	x, err := os.Stat(a)
	y, err2 := os.Stat(b)
	return err == nil && err2 == nil && os.SameFile(x, y)
}

// first is the first error that is not nil.
func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// at replaces the temporary path in errors of the file system with the path that the caller knows.
func at(path string, err error) error {
	var p *fs.PathError
	var l *os.LinkError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &p):
		return &fs.PathError{Op: "write", Path: path, Err: p.Err}
	case errors.As(err, &l):
		return &fs.PathError{Op: "write", Path: path, Err: l.Err}
	}
	return err
}

// Temporary is a new name beside path for what is renamed to path once it is whole. Recover clears such a file away.
func Temporary(path string) string { return beside(path, writing) + "-" + rand.Text()[:8] }

// SyncDir makes the renaming of a folder's entries durable, where the system can: Windows has no such call, and some
// file systems refuse it.
func SyncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); !errors.Is(err, syscall.EINVAL) {
		return err
	}
	return nil
}

// syncDir is SyncDir where the files themselves are flushed all the same, so that an error loses nothing.
func syncDir(dir string) { _ = SyncDir(dir) }
