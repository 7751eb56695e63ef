// Package disk writes files and folders whole or not at all, and lets one process at a time write to a folder.
package disk

import (
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Names of what is not in place yet, or not any more. A process that is killed leaves them behind; Recover clears them
// away.
const (
	writing  = ".writing-"  // being written
	replaced = ".replaced-" // the folder before this one, until this one is in place
	removing = ".removing-" // being removed
)

// WriteFile makes path a file that holds data. It is there whole or not at all: see Write.
func WriteFile(path string, data []byte) error {
	return Write(path, 0o666, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

// Write makes path a file of what fill writes: fill gets a file beside it, which is flushed to the disk and then
// renamed. A reader sees the old file or the new one, whatever happens when. mode is that of a new file, less the
// umask. A symbolic link is followed; what is no file, as /dev/stdout, is written to directly. Errors of the file
// system carry path.
func Write(path string, mode fs.FileMode, fill func(io.Writer) error) error {
	final, direct := target(path)
	temp := final
	flags := os.O_WRONLY
	if !direct {
		temp = filepath.Join(filepath.Dir(final), writing+filepath.Base(final)+"-"+rand.Text()[:8])
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

// target is where path leads to, and whether that is there and no file.
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

// Same reports whether two paths lead to one file or folder.
func Same(a, b string) bool {
	x, err := os.Stat(a)
	y, err2 := os.Stat(b)
	return err == nil && err2 == nil && os.SameFile(x, y)
}

// first is the first error that is one.
func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// at gives errors of the file system the path that the caller knows, instead of that of the file beside it.
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

// syncDir makes the renaming of a folder's entries durable. Some systems cannot: the files themselves are flushed all
// the same.
func syncDir(dir string) {
	if f, err := os.Open(dir); err == nil {
		f.Sync()
		f.Close()
	}
}
