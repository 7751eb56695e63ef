package disk

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// point is called with the name of each moment between two changes on the disk. A test ends the process there.
var point = func(string) {}

// ReplaceDir makes the folder final by letting fill write a folder beside it, flushing every file of it and renaming
// it. Whatever happens when, final is there whole: the old one or the new one. Where the system cannot exchange two
// folders in one step, and the process is killed between two renamings, the old one comes back with Recover.
func ReplaceDir(final string, fill func(dir string) error) (err error) {
	parent, base := filepath.Split(filepath.Clean(final))
	aside := filepath.Join(parent, writing+base)
	if err := os.RemoveAll(aside); err != nil {
		return err
	}
	if err := os.MkdirAll(aside, 0o755); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.RemoveAll(aside)
		}
	}()
	point("empty")
	if err := fill(aside); err != nil {
		return err
	}
	point("filled")
	if err := syncTree(aside); err != nil {
		return err
	}
	point("flushed")
	if err := place(aside, final); err != nil {
		return err
	}
	point("placed")
	syncDir(filepath.Dir(aside))
	return os.RemoveAll(aside) // holds what was replaced, if anything
}

// place gives the folder aside the name final. What had that name has aside's afterwards, or is gone.
func place(aside, final string) error {
	if _, err := os.Lstat(final); errors.Is(err, fs.ErrNotExist) {
		return os.Rename(aside, final)
	}
	err := exchange(aside, final)
	if err == nil || !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	old := beside(final, replaced)
	if err := os.RemoveAll(old); err != nil {
		return err
	}
	if err := os.Rename(final, old); err != nil {
		return err
	}
	point("old away")
	if err := os.Rename(aside, final); err != nil {
		return errors.Join(err, os.Rename(old, final))
	}
	point("new in place")
	return os.RemoveAll(old)
}

// beside is a name in the folder of path.
func beside(path, prefix string) string {
	return filepath.Join(filepath.Dir(path), prefix+filepath.Base(path))
}

// RemoveDir takes the name of the folder dir away before its files, so that no half of it is ever found.
func RemoveDir(dir string) error {
	aside := beside(filepath.Clean(dir), removing)
	if err := os.RemoveAll(aside); err != nil {
		return err
	}
	if err := os.Rename(dir, aside); err != nil {
		return err
	}
	point("renamed")
	return os.RemoveAll(aside)
}

// Link makes link a symbolic link to target, in one step. Where the system has no such links nothing happens.
func Link(target, link string) error {
	aside := beside(link, writing)
	os.Remove(aside)
	if err := os.Symlink(target, aside); err != nil {
		if errors.Is(err, os.ErrPermission) || errors.Is(err, errors.ErrUnsupported) {
			return nil
		}
		return err
	}
	return os.Rename(aside, link)
}

// staleFile is the age from which a half-written file belongs to no process any more: a reader of a folder writes its
// report there without holding the lock.
const staleFile = time.Hour

// Recover clears away what killed processes left in the folder parent, and brings back a folder that was being
// replaced. The caller holds the lock of the folder. A parent that is not there is fine.
func Recover(parent string) error {
	entries, err := os.ReadDir(parent)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := filepath.Join(parent, e.Name())
		if name, is := strings.CutPrefix(e.Name(), replaced); is {
			final := filepath.Join(parent, name)
			if _, err := os.Lstat(final); errors.Is(err, fs.ErrNotExist) {
				if err := os.Rename(path, final); err != nil {
					return err
				}
				continue
			}
		} else if !strings.HasPrefix(e.Name(), writing) && !strings.HasPrefix(e.Name(), removing) {
			continue
		}
		if e.Type().IsRegular() {
			if st, err := e.Info(); err != nil || time.Since(st.ModTime()) < staleFile {
				continue
			}
		}
		if err := os.RemoveAll(path); err != nil {
			return err
		}
	}
	return nil
}

func syncTree(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			syncDir(path)
			return nil
		case !d.Type().IsRegular():
			return nil
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		return first(f.Sync(), f.Close())
	})
}
