package rl

import (
	"context"
	"fmt"

	"github.com/zerosearch-go/zerosearch/engine/dist"
	"github.com/zerosearch-go/zerosearch/internal/await"
	"github.com/zerosearch-go/zerosearch/internal/fingerprint"
	"github.com/zerosearch-go/zerosearch/rl/rundir"
)

// resume goes on from the checkpoint that --resume names: it restores weights, moments, step and state. Nothing is
// removed here: the logs and the later checkpoints of --out are cut back by rundir.Folder.Begin, once everything has
// been read.
func (t *Trainer) resume(ctx context.Context) (err error) {
	c := &t.Config.Schedule
	dir := c.Resume
	if dir == "auto" {
		dir, _, _ = rundir.Last(c.Out) // "": nothing was saved yet, begin
	}
	if dir, err = dist.First(t.group(), dir); err != nil {
		return err
	}
	if dir == "" {
		if t.state.Run, err = await.Call(ctx, t.fingerprint); err != nil {
			return err
		}
		return t.sameEverywhere(ctx, t.state.Run)
	}
	var st rundir.State
	if t.group().Rank() == 0 {
		if st, err = rundir.ReadState(dir); err != nil {
			return err
		}
	}
	now, err := await.Call(ctx, t.fingerprint)
	if err != nil {
		return fmt.Errorf("resuming %s: %w", dir, err)
	}
	if err := t.sameEverywhere(ctx, now); err != nil {
		return err
	}
	if t.group().Rank() == 0 {
		if err := t.compare(&st, dir, now); err != nil {
			return err
		}
	}
	if st, err = dist.First(t.group(), st); err != nil {
		return err
	}
	t.state, t.From = st, st.Step
	return t.restore(ctx, dir)
}

// compare refuses to go on from the checkpoint dir of another run, and notes what changes.
func (t *Trainer) compare(st *rundir.State, dir string, now fingerprint.Parts) error {
	c := &t.Config.Schedule
	notes, err := st.Compare(dir, now, c.Force)
	if err != nil {
		return err
	}
	if !c.Force {
		if err := rundir.OnlyLast(c.Out, dir, st.Step); err != nil {
			return fmt.Errorf("%w, or remove what is later there with --force", err)
		}
	}
	t.Notes = append(append(t.Notes, notes...), t.scheduleChanges(*st)...)
	t.ranksChanged(st)
	t.compareBest(st)
	return nil
}
