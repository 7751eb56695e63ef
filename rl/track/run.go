// Package track keeps a run directory: config.yaml, metrics.jsonl, episodes.jsonl, events.out.tfevents.* and checkpoints/step-N.
package track

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"time"
)

// Run is a run directory that is being written.
type Run struct {
	Dir      string
	metrics  *log
	episodes *log
	events   *events
}

// Create makes or opens dir for a run that goes on after step (0: a new run). Logs are cut back to step. A directory that already
// holds a run is refused for step 0 unless resume is meant.
func Create(dir string, step int, resume bool) (*Run, error) {
	if dir == "" {
		return nil, errors.New("opening the run directory: no name given: say --out DIR")
	}
	metrics, episodes := filepath.Join(dir, "metrics.jsonl"), filepath.Join(dir, "episodes.jsonl")
	if !resume {
		if _, _, saved := Last(dir); saved || !empty(metrics) {
			return nil, fmt.Errorf("opening the run directory: %s already holds a run: add --resume auto to go on with it, or choose another --out", dir)
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, "checkpoints"), 0o755); err != nil {
		return nil, fmt.Errorf("opening the run directory: %w: choose another --out", err)
	}
	for _, p := range []string{metrics, episodes} {
		if err := cutAfter(p, step); err != nil {
			return nil, fmt.Errorf("opening the run directory: %w", err)
		}
	}
	m, err := openLog(metrics)
	if err != nil {
		return nil, fmt.Errorf("opening the run directory: %w", err)
	}
	e, err := openEvents(dir, step, time.Now)
	if err != nil {
		m.f.Close()
		return nil, fmt.Errorf("opening the run directory: %w", err)
	}
	return &Run{Dir: dir, metrics: m, events: e}, nil
}

// empty is true of files that are not there too: a run that failed before its first step left nothing to keep.
func empty(path string) bool {
	st, err := os.Stat(path)
	return err != nil || st.Size() == 0
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
	return os.WriteFile(filepath.Join(r.Dir, "config.yaml"), yaml, 0o644)
}

// Checkpoint is the folder of step's checkpoint.
func (r *Run) Checkpoint(step int) string { return Checkpoint(r.Dir, step) }

// Sync makes the logs durable.
func (r *Run) Sync() error {
	return r.each(func(f *os.File) error { return f.Sync() })
}

// Close closes the logs.
func (r *Run) Close() error {
	return r.each((*os.File).Close)
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
		if n, err := strconv.Atoi(strings.TrimPrefix(e.Name(), "step-")); err == nil && e.IsDir() && strings.HasPrefix(e.Name(), "step-") {
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

// ModelDir resolves what --model may name: a model folder stays, a run directory becomes its last checkpoint.
func ModelDir(dir string) (string, error) {
	for _, name := range []string{"config.json", "adapter_config.json"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			return dir, nil
		}
	}
	if path, _, ok := Last(dir); ok {
		return path, nil
	}
	if _, err := os.Stat(dir); err != nil {
		return "", fmt.Errorf("opening model %s: %w", dir, err)
	}
	return "", fmt.Errorf("opening model %s: it holds neither config.json nor checkpoints/step-N: give a Hugging Face folder or a run directory", dir)
}
