package main

import (
	"github.com/zerosearch-go/zerosearch/internal/disk"
	"github.com/zerosearch-go/zerosearch/rl/rundir"
)

// openRun takes the run directory of --out for this process, before long work, or says why it cannot be written. The
// caller closes it.
func (w *world) openRun(out, resume string) (*rundir.Folder, error) {
	if err := w.alone(); err != nil {
		return nil, err
	}
	f, err := rundir.Open(out, resume != "")
	if err == nil && f.Note != "" {
		w.log.line("note: %s", f.Note)
	}
	return f, err
}

// hold keeps other processes from writing to the folder dir, and clears away what a killed one left there, until
// release is called.
func (w *world) hold(dir string) (release func(), err error) {
	l, err := disk.LockDir(dir)
	if err != nil {
		return nil, err
	}
	if l.Note != "" {
		w.log.line("note: %s", l.Note)
	}
	if err := disk.Recover(dir); err != nil {
		l.Unlock()
		return nil, err
	}
	return l.Unlock, nil
}
