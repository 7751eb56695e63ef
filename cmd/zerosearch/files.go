package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/zerosearch-go/zerosearch/rl/track"
)

// writeFile puts data in place whole or not at all.
func writeFile(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".writing-*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Chmod(0o644), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// checkOut says before long work whether a run can be written to dir.
func checkOut(dir, resume string) error {
	if _, _, saved := track.Last(dir); saved && resume == "" {
		return fmt.Errorf("opening the run directory: %s already holds a run: add --resume auto to go on with it, or choose another --out", dir)
	}
	existed := exists(dir)
	err := os.MkdirAll(dir, 0o755)
	if err == nil {
		var f *os.File
		if f, err = os.CreateTemp(dir, ".writable-*"); err == nil {
			f.Close()
			err = os.Remove(f.Name())
		}
		if !existed {
			os.Remove(dir) // only where it is empty: what comes next may fail
		}
	}
	if err != nil {
		return fmt.Errorf("opening the run directory: %w", err)
	}
	return nil
}
