// Package rundir keeps a run directory: config.yaml, metrics.jsonl, episodes.jsonl, events.out.tfevents.* and
// checkpoints/step-N.
package rundir

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/zerosearch-go/zerosearch/internal/disk"
	"github.com/zerosearch-go/zerosearch/rl/config"
)

// Folder is a run directory that no other process writes to while it is open.
type Folder struct {
	Dir  string
	Note string // for the user, where the file system cannot keep other processes out; "" elsewhere
	lock *disk.Lock
}

// Open makes or opens dir for writing, and clears away what a killed process left there. A directory that holds a run
// is refused unless resume is meant, and so is one that another process writes to; the system gives the lock back when
// a process ends, however it ends.
func Open(dir string, resume bool) (_ *Folder, err error) {
	defer func() { err = config.Error(err) }()
	if dir == "" {
		return nil, errors.New("opening the run directory: no name given: say --out DIR")
	}
	lock, err := disk.LockDir(dir)
	if busy := new(disk.Busy); errors.As(err, &busy) {
		return nil, fmt.Errorf("opening the run directory: %w", err)
	} else if err != nil {
		return nil, fmt.Errorf("opening the run directory: %w: choose another --out", err)
	}
	defer func() {
		if err != nil {
			lock.Unlock()
		}
	}()
	if err := errors.Join(disk.Recover(dir), disk.Recover(filepath.Join(dir, "checkpoints"))); err != nil {
		return nil, fmt.Errorf("opening the run directory: clearing away what a killed process left: %w", err)
	}
	if !resume && Holds(dir) {
		return nil,
			fmt.Errorf("opening the run directory: %s already holds a run: add --resume auto to go on with it, or "+
				"choose another --out", dir)
	}
	return &Folder{Dir: dir, Note: lock.Note, lock: lock}, nil
}

// Holds reports whether dir holds a run that did at least one step. A run that was only measured before its first step,
// which is recorded as step 0, did none.
func Holds(dir string) bool {
	if _, _, saved := Last(dir); saved {
		return true
	}
	f, err := os.Open(filepath.Join(dir, "metrics.jsonl"))
	if err != nil {
		return false
	}
	defer f.Close()
	r := bufio.NewReader(f)
	for {
		line, err := r.ReadBytes('\n')
		if len(line) == 0 && err != nil {
			return false
		}
		if step, _, err := parse(line); err != nil || step > 0 {
			return true
		}
	}
}

// Close lets other processes write to the directory. A directory that was made by Open and is empty goes.
func (f *Folder) Close() { f.lock.Unlock() }

// Run is a run directory that is being written.
type Run struct {
	Dir      string
	metrics  *log
	episodes *log
	events   *events
	folder   *Folder // closed with the run; nil: the caller's
}

// Create is Open and Begin; closing the run closes the folder.
func Create(dir string, step int, resume bool) (*Run, error) {
	f, err := Open(dir, resume)
	if err != nil {
		return nil, err
	}
	r, err := f.Begin(step)
	if err != nil {
		f.Close()
		return nil, err
	}
	r.folder = f
	return r, nil
}

// Begin opens the logs of a run that goes on after step (0: a new run). Logs and checkpoints are cut back to step, so
// it is called when the checkpoint of step has been read. The caller keeps the folder open until the run is closed.
func (f *Folder) Begin(step int) (_ *Run, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("opening the run directory: %w", err)
		}
	}()
	if err := os.MkdirAll(filepath.Join(f.Dir, "checkpoints"), 0o755); err != nil {
		return nil, fmt.Errorf("%w: choose another --out", err)
	}
	for _, later := range Steps(f.Dir) {
		if later > step {
			if err := disk.RemoveDir(Checkpoint(f.Dir, later)); err != nil {
				return nil, fmt.Errorf("removing a later checkpoint: %w", err)
			}
		}
	}
	keep := step
	if step == 0 {
		keep = -1 // the measurement before the first step is made again
	}
	metrics := filepath.Join(f.Dir, "metrics.jsonl")
	for _, p := range []string{metrics, filepath.Join(f.Dir, "episodes.jsonl")} {
		if err := cutAfter(p, keep); err != nil {
			return nil, err
		}
	}
	m, err := openLog(metrics)
	if err != nil {
		return nil, err
	}
	e, err := openEvents(f.Dir, step, time.Now)
	if err != nil {
		m.f.Close()
		return nil, err
	}
	return &Run{Dir: f.Dir, metrics: m, events: e}, nil
}

// Metrics appends the line of one step, and its scalars for TensorBoard.
func (r *Run) Metrics(step int, m Metrics) error {
	if err := r.metrics.append(m.line(step)); err != nil {
		return fmt.Errorf("writing metrics: %w", err)
	}
	if err := r.events.scalars(step, m); err != nil {
		return fmt.Errorf("writing events: %w", err)
	}
	return nil
}

// Line is what metrics.jsonl says of a step; nil if there is nothing.
func (r *Run) Line(step int) Metrics {
	text, err := os.ReadFile(filepath.Join(r.Dir, "metrics.jsonl"))
	if err != nil {
		return nil
	}
	for line := range bytes.Lines(text) {
		if n, m, err := parse(line); err == nil && n == step {
			return m
		}
	}
	return nil
}

// Amend adds metrics to the line of a step, the last one, or writes the line if there is none.
func (r *Run) Amend(step int, more Metrics) error {
	m := r.Line(step)
	if m == nil {
		return r.Metrics(step, more)
	}
	maps.Copy(m, more)
	path := filepath.Join(r.Dir, "metrics.jsonl")
	text, err := os.ReadFile(path)
	r.metrics.f.Close() // of the file that is replaced
	if err == nil {
		cut := bytes.LastIndexByte(bytes.TrimSuffix(text, []byte("\n")), '\n') + 1
		err = disk.WriteFile(path, append(text[:cut:cut], m.line(step)...))
	}
	if err == nil {
		r.metrics, err = openLog(path)
	}
	if err != nil {
		return fmt.Errorf("writing metrics: %w", err)
	}
	if err := r.events.scalars(step, more); err != nil {
		return fmt.Errorf("writing events: %w", err)
	}
	return nil
}

// Histogram appends the distribution of values, for TensorBoard.
func (r *Run) Histogram(step int, name string, values []float64) error {
	if err := r.events.histogram(step, name, values); err != nil {
		return fmt.Errorf("writing events: %w", err)
	}
	return nil
}

// Text appends Markdown, for TensorBoard.
func (r *Run) Text(step int, name, markdown string) error {
	if err := r.events.text(step, name, markdown); err != nil {
		return fmt.Errorf("writing events: %w", err)
	}
	return nil
}

// Episode appends one trajectory, a JSON object on one line; its line break may be there already.
func (r *Run) Episode(line []byte) error {
	if r.episodes == nil { // fine-tuning has none
		var err error
		if r.episodes, err = openLog(filepath.Join(r.Dir, "episodes.jsonl")); err != nil {
			return fmt.Errorf("writing episodes: %w", err)
		}
	}
	line = bytes.TrimSuffix(line, []byte("\n"))
	if err := r.episodes.append(append(line[:len(line):len(line)], '\n')); err != nil {
		return fmt.Errorf("writing episodes: %w", err)
	}
	return nil
}

// Config writes the resolved configuration.
func (r *Run) Config(yaml []byte) error {
	return disk.WriteFile(filepath.Join(r.Dir, "config.yaml"), yaml)
}

// Checkpoint is the folder of step's checkpoint.
func (r *Run) Checkpoint(step int) string { return Checkpoint(r.Dir, step) }

// Sync makes the logs durable.
func (r *Run) Sync() error {
	return r.each(func(f *os.File) error { return f.Sync() })
}

// Close closes the logs, and the folder if Create opened it.
func (r *Run) Close() error {
	err := r.each((*os.File).Close)
	if r.folder != nil {
		r.folder.Close()
	}
	return err
}

// each does something with the logs that are open.
func (r *Run) each(do func(*os.File) error) error {
	var errs []error
	for _, l := range []*log{r.metrics, r.episodes, r.events.log} {
		if l != nil {
			errs = append(errs, do(l.f))
		}
	}
	return errors.Join(errs...)
}

// Checkpoint is the folder of step's checkpoint in run directory dir.
func Checkpoint(dir string, step int) string {
	return filepath.Join(dir, "checkpoints", "step-"+strconv.Itoa(step))
}

// Steps lists the complete checkpoints of run directory dir, ascending.
func Steps(dir string) (steps []int) {
	entries, err := os.ReadDir(filepath.Join(dir, "checkpoints"))
	if err != nil {
		return nil
	}
	for _, e := range entries {
		n, err := strconv.Atoi(strings.TrimPrefix(e.Name(), "step-"))
		if err == nil && e.IsDir() && e.Name() == filepath.Base(Checkpoint(dir, n)) {
			steps = append(steps, n)
		}
	}
	sort.Ints(steps)
	return steps
}

// Last finds the newest complete checkpoint of run directory dir; ok is false if there is none.
func Last(dir string) (path string, step int, ok bool) {
	steps := Steps(dir)
	if len(steps) == 0 {
		return "", 0, false
	}
	n := steps[len(steps)-1]
	return Checkpoint(dir, n), n, true
}
