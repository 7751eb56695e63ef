package disk

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// point is called between any two changes on the disk, with a name. Tests kill the process there.
var point = func(string) {}

// ReplaceDir replaces the folder final atomically: fill writes a new folder beside it, every file is synced, and the
// new folder is renamed to final. After a crash at any time, final is either the old folder or the new one. If the
// system cannot exchange two folders in one step and the process is killed between two renames, final is missing until
// Recover restores the old folder.
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
	return os.RemoveAll(aside) // the replaced folder, if there was one
}

// NewDir makes the new folder final atomically: fill writes it beside, every file is synced, and it is renamed to
// final. Several processes may do so at once: the first one makes it, the others get fs.ErrExist. What a killed process
// left of its own is removed when nothing was written there for ten minutes.
func NewDir(final string, fill func(dir string) error) error {
	final = filepath.Clean(final)
	removeStale(beside(final, writing) + "-*")
	if _, err := os.Lstat(final); err == nil {
		return &fs.PathError{Op: "making", Path: final, Err: fs.ErrExist}
	}
	if err := os.MkdirAll(filepath.Dir(final), 0o755); err != nil {
		return err
	}
	aside, err := os.MkdirTemp(filepath.Dir(final), writing+filepath.Base(final)+"-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(aside)
	point("empty")
	if err := fill(aside); err != nil {
		return err
	}
	point("filled")
	if err := first(os.Chmod(aside, 0o755), syncTree(aside)); err != nil {
		return err
	}
	point("flushed")
	if err := os.Rename(aside, final); err != nil {
		if _, there := os.Lstat(final); there == nil {
			return &fs.PathError{Op: "making", Path: final, Err: fs.ErrExist}
		}
		return err
	}
	point("placed")
	syncDir(filepath.Dir(final))
	return nil
}

// removeStale removes folders that match pattern and in which nothing was written for ten minutes.
func removeStale(pattern string) {
	unfinished, _ := filepath.Glob(pattern)
	for _, dir := range unfinished {
		var last time.Time
		_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
			if err == nil {
				if st, err := d.Info(); err == nil && st.ModTime().After(last) {
					last = st.ModTime()
				}
			}
			return nil
		})
		if time.Since(last) > 10*time.Minute {
			os.RemoveAll(dir)
		}
	}
}

// place renames the folder aside to final. An existing folder final is then named aside, or removed.
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

// beside adds prefix to the last element of path.
func beside(path, prefix string) string {
	return filepath.Join(filepath.Dir(path), prefix+filepath.Base(path))
}

// RemoveDir renames the folder dir before it removes its files, so that dir never has only a part of them.
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

// Link makes link a symbolic link to target, atomically. On systems without symbolic links it does nothing.
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

// staleFile is the age at which Recover removes an unfinished file. Younger ones may belong to a running process that
// writes without the lock, such as one that writes a report into the folder of a run.
const staleFile = time.Hour

// Recover removes unfinished files and folders of killed processes from the folder parent, and restores a folder whose
// replacement was interrupted. The caller holds the lock of parent. If parent does not exist, Recover does nothing.
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
