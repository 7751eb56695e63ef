package rl

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/zerosearch-go/zerosearch/engine/dist"
	"github.com/zerosearch-go/zerosearch/internal/await"
	"github.com/zerosearch-go/zerosearch/internal/disk"
	"github.com/zerosearch-go/zerosearch/internal/fingerprint"
	"github.com/zerosearch-go/zerosearch/rl/episode"
	"github.com/zerosearch-go/zerosearch/rl/roles"
	"github.com/zerosearch-go/zerosearch/rl/rollout"
	"github.com/zerosearch-go/zerosearch/rl/search"
)

// rolloutName is the file of a run directory that holds the rollout of a step from before its update until the step is
// saved: a savedRollout, then the step's episodes, a line each. A run that is killed or stopped in the update goes on
// from it, with the same bits.
const rolloutName = "rollout.jsonl"

// savedRollout is the first line of the file: what the episodes came from, and what they cost.
type savedRollout struct {
	Step     int                    `json:"step"`
	Total    int                    `json:"total_steps"` // the curriculum spans them
	Episodes int                    `json:"episodes"`
	Drawn    int                    `json:"drawn,omitempty"` // questions, see rollout.Sampled
	Seconds  float64                `json:"seconds"`
	Cost     map[string]search.Cost `json:"cost"` // not priced
	Path     string                 `json:"kernel_path"`
	SimPath  string                 `json:"sim_kernel_path,omitempty"`
	Run      fingerprint.Parts      `json:"run"`

	all []*episode.Episode
}

// errBeforeUpdate ends a step whose rollout is saved, because the run was told to stop.
var errBeforeUpdate = errors.New("stopped between rollout and update")

// RolloutSaved is the step whose rollout is saved while its update is not done; 0: there is none.
func (t *Trainer) RolloutSaved() int { return t.beforeUpdate }

// rolloutPath is the file; "" if nothing is kept.
func (t *Trainer) rolloutPath() string {
	if t.Out == nil || t.Engine == nil {
		return ""
	}
	return filepath.Join(t.Out.Dir, rolloutName)
}

// header is the first line for a rollout of step that is made now.
func (t *Trainer) header(step int) savedRollout {
	h := savedRollout{Step: step, Total: t.Config.Schedule.TotalSteps, Run: t.state.Run}
	h.Path, h.SimPath = roles.KernelPaths(&t.Config.Search, t.Policy.Model.Device)
	return h
}

// saveRollout keeps a rollout until its step is saved. It is not needed for anything but a resumption, so that an error
// is only noted.
func (t *Trainer) saveRollout(step int, s *rollout.Sampled, took time.Duration) {
	cost, err := t.costs(t.Meter.Counts())
	path := t.rolloutPath()
	if path == "" || err != nil { // the ranks' next exchange has the same error
		return
	}
	h := t.header(step)
	h.Episodes, h.Drawn, h.Seconds, h.Cost = len(s.All), s.Drawn, took.Seconds(), cost
	if err := h.write(path, s.All); err != nil {
		t.note(fmt.Sprintf("the rollout of step %d is not saved: %v", step, err))
		return
	}
	t.rolledOut = step
}

// write puts the file in place in one step. It is not synced: a process that is killed loses nothing by that, and after
// a power cut the rollout is made again.
func (h *savedRollout) write(path string, all []*episode.Episode) error {
	first, err := json.Marshal(h)
	if err != nil {
		return err
	}
	rest, err := lines(all)
	if err != nil {
		return err
	}
	temp := disk.Temporary(path)
	if err = os.WriteFile(temp, slices.Concat(first, []byte("\n"), rest), 0o644); err == nil {
		err = os.Rename(temp, path)
	}
	if err != nil {
		os.Remove(temp)
	}
	return err
}

// loadRollout reads the rollout of the step that the run goes on with, if there is one that was made by the same run.
// Another one is removed.
func (t *Trainer) loadRollout(ctx context.Context) error {
	path := t.rolloutPath()
	if path == "" {
		return nil
	}
	h, err := await.Call(ctx, func() (*savedRollout, error) { return readRollout(path) })
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	now := t.header(t.From + 1)
	if err == nil && t.Config.Schedule.Resume != "" && h.Step == now.Step && h.Total == now.Total &&
		h.Path == now.Path &&
		h.SimPath == now.SimPath && maps.Equal(h.Run, now.Run) {
		t.saved = h
		t.Notes = append(t.Notes, fmt.Sprintf("step %d goes on from its recorded rollout of %d episodes", h.Step,
			h.Episodes))
		return nil
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("removing the rollout of another step: %w", err)
	}
	return nil
}

// readRollout reads the file; one that ends too early is an error.
func readRollout(path string) (*savedRollout, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	first, rest, _ := bytes.Cut(text, []byte("\n"))
	h := &savedRollout{}
	if err := json.Unmarshal(first, h); err != nil {
		return nil, err
	}
	for e, err := range episode.Read(path, bytes.NewReader(rest)) {
		if err != nil {
			return nil, err
		}
		h.all = append(h.all, e)
	}
	if len(h.all) != h.Episodes || !bytes.HasSuffix(text, []byte("\n")) {
		return nil, fmt.Errorf("reading %s: %d of %d episodes", path, len(h.all), h.Episodes)
	}
	return h, nil
}

// takeRollout is the saved rollout of step and how long it took; nil if it must be made.
func (t *Trainer) takeRollout(step int) (*rollout.Sampled, time.Duration) {
	h := t.saved
	if h == nil || h.Step != step {
		return nil, 0
	}
	t.saved, t.rolledOut = nil, step
	s := rollout.NewSampled(h.all, t.Config.Algo.Resamples())
	s.Drawn = h.Drawn
	t.Meter.Restore(h.Cost)
	return s, time.Duration(h.Seconds * float64(time.Second))
}

// stopBeforeUpdate saves the step before if the run was told to stop: the rollout of step is saved already, and the
// update can take long.
func (t *Trainer) stopBeforeUpdate(step int) error {
	stop, err := dist.First(t.group(), t.rolledOut == step && t.stop != nil && t.stop.Err() != nil)
	if err != nil || !stop {
		return err
	}
	if err := t.saveBefore(step); err != nil {
		return err
	}
	t.beforeUpdate = step
	return errBeforeUpdate
}

// saveBefore saves the step before step, unless that is done: nothing was learned in step yet.
func (t *Trainer) saveBefore(step int) error {
	if last := step - 1; last > t.From && !t.due(last) {
		return t.save(last)
	}
	return nil
}

// forgetRollout removes the rollout of a step that is saved.
func (t *Trainer) forgetRollout(step int) {
	if path := t.rolloutPath(); path != "" && t.rolledOut <= step {
		os.Remove(path) // one that stays is not used: it is of a step that is done
	}
}
