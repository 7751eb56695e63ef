package rl

import (
	"cmp"
	"context"
	"fmt"

	"github.com/zerosearch-go/zerosearch/internal/disk"
	"github.com/zerosearch-go/zerosearch/internal/fingerprint"
	"github.com/zerosearch-go/zerosearch/rl/track"
)

// resume goes on from the checkpoint that --resume names: it restores weights, moments, step and state. Nothing is
// removed here: the logs and the later checkpoints of --out are cut back by track.Folder.Begin, once everything has
// been read.
func (t *Trainer) resume(ctx context.Context) (err error) {
	c := &t.Config.Schedule
	dir := c.Resume
	if dir == "auto" {
		dir, _, _ = track.Last(c.Out) // "": nothing was saved yet, begin
	}
	if dir == "" {
		t.state.Run, err = Await(ctx, t.fingerprint)
		return err
	}
	st, err := ReadState(dir)
	if err != nil {
		return err
	}
	now, err := Await(ctx, t.fingerprint)
	if err != nil {
		return fmt.Errorf("resuming %s: %w", dir, err)
	}
	notes, err := st.Compare(dir, now, c.Force)
	if err != nil {
		return err
	}
	if !c.Force {
		if err := OnlyLast(c.Out, dir, st.Step); err != nil {
			return fmt.Errorf("%w, or remove what is later there with --force", err)
		}
	}
	t.Notes = append(append(t.Notes, notes...), t.stretched(st)...)
	t.compareBest(&st)
	t.state, t.From = st, st.Step
	return t.restore(ctx, dir)
}

// partVerb names the verb that a checkpoint is of; train does not name itself.
const partVerb = "verb"

// Compare refuses to go on from the checkpoint dir of a run that came from something else than now; with force it only
// notes what. The state is then that of the run as it goes on.
func (st *State) Compare(dir string, now fingerprint.Parts, force bool) (notes []string, err error) {
	was := st.Run
	st.Run = now
	if was == nil || was[partVerb] != now[partVerb] {
		by := "does not say what it was made with, as one of an earlier version"
		if verb := was[partVerb]; was != nil {
			by = "was made by " + cmp.Or(verb, "train")
		}
		if !force {
			return nil, fmt.Errorf("resuming %s: it %s: begin with its weights, --model %s, or add --force to go on with its "+
				"optimizer too", dir, by, dir)
		}
		return []string{"resuming with --force: the checkpoint " + by}, nil
	}
	changed, unknown := changes(was, now)
	if unknown {
		notes = append(notes, "the checkpoint is of an earlier version, which did not keep what models hold: "+
			"they are not compared")
	}
	if len(changed) == 0 {
		return notes, nil
	}
	if !force {
		return nil, fmt.Errorf("resuming %s: not as it was: %s: take it back, or add --force to go on with it", dir,
			fingerprint.Sentence(changed))
	}
	return append(notes, fmt.Sprintf("resuming with --force: %s", fingerprint.Sentence(changed))), nil
}

// OnlyLast refuses to go on in the run directory out from dir, the checkpoint of step, where that would mix two runs:
// where out has later checkpoints, or where dir is none of out's and out holds a run.
func OnlyLast(out, dir string, step int) error {
	if !disk.Same(dir, track.Checkpoint(out, step)) {
		if out != "" && track.Holds(out) {
			return fmt.Errorf("resuming %s: %s holds another run: choose another --out", dir, out)
		}
		return nil
	}
	if _, last, _ := track.Last(out); last > step {
		return fmt.Errorf("resuming %s: %s has later checkpoints, up to step %d: go on from the last with --resume auto, or "+
			"choose another --out", dir, out, last)
	}
	return nil
}
