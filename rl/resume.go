package rl

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/zerosearch-go/zerosearch/internal/fingerprint"
	"github.com/zerosearch-go/zerosearch/rl/track"
)

// resume goes on from the checkpoint that --resume names: it restores weights, moments, step and state.
func (t *Trainer) resume() (err error) {
	c := &t.Config.Schedule
	dir := c.Resume
	if dir == "auto" {
		dir, _, _ = track.Last(c.Out) // "": nothing was saved yet, begin
	}
	if dir == "" {
		t.state.Run, err = t.fingerprint()
		return err
	}
	if err := clearHalves(c.Out); err != nil {
		return fmt.Errorf("resuming %s: %w", dir, err)
	}
	st, err := ReadState(dir)
	if err != nil {
		return err
	}
	if st.Step >= c.TotalSteps {
		return fmt.Errorf("resuming %s: all %d steps are done: raise --total-steps to go on", dir, c.TotalSteps)
	}
	now, err := t.fingerprint()
	if err != nil {
		return fmt.Errorf("resuming %s: %w", dir, err)
	}
	if st.Run == nil { // of another program: the seed is all that is known
		st.Run = fingerprint.Parts{"seed": fmt.Sprint(st.Seed)}
	}
	changed, unknown := changes(st.Run, now)
	if unknown {
		t.Notes = append(t.Notes, "the checkpoint is of an earlier version, which did not keep what models hold: they are not compared")
	}
	if len(changed) > 0 {
		if !c.Force {
			return fmt.Errorf("resuming %s: not as it was: %s: take it back, or add --force to go on with it", dir, fingerprint.Sentence(changed))
		}
		t.Notes = append(t.Notes, fmt.Sprintf("resuming with --force: %s", fingerprint.Sentence(changed)))
	}
	if err := t.clearLater(dir, st.Step); err != nil {
		return err
	}
	st.Run = now
	t.compareBest(&st)
	t.state, t.From = st, st.Step
	return t.restore(dir)
}

// clearHalves removes what a killed process left of a checkpoint that it was writing or removing.
func clearHalves(out string) error {
	halves, err := filepath.Glob(filepath.Join(out, "checkpoints", ".*"))
	for _, h := range halves {
		if err == nil {
			err = os.RemoveAll(h)
		}
	}
	return err
}

// clearLater refuses to go on from the middle of a run whose later checkpoints would outlive what replaces them; --force removes them.
func (t *Trainer) clearLater(dir string, step int) error {
	c := &t.Config.Schedule
	own, err := filepath.Abs(track.Checkpoint(c.Out, step))
	if err != nil {
		return err
	}
	if at, err := filepath.Abs(dir); err != nil || at != own {
		return err
	}
	for _, later := range track.Steps(c.Out) {
		if later <= step {
			continue
		}
		if !c.Force {
			return fmt.Errorf("resuming %s: %s has later checkpoints, up to step %d: go on from the last with --resume auto, choose another --out, or remove them with --force",
				dir, c.Out, slices.Max(track.Steps(c.Out)))
		}
		if err := removeDir(track.Checkpoint(c.Out, later)); err != nil {
			return fmt.Errorf("removing a later checkpoint: %w", err)
		}
	}
	return nil
}
