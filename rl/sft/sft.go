package sft

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/zerosearch-go/zerosearch/engine/train"
	"github.com/zerosearch-go/zerosearch/internal/disk"
	"github.com/zerosearch-go/zerosearch/internal/fingerprint"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/rl/data"
	"github.com/zerosearch-go/zerosearch/rl/roles"
	"github.com/zerosearch-go/zerosearch/rl/rundir"
)

// Source gives the examples of a step, counted from 0. It has no state, so that a resumed run gets the same examples as
// an uninterrupted one.
type Source func(step int) []Example

// FromSlice is a Source of batches of examples, shuffled anew in each epoch by seed, or in the order of the slice.
func FromSlice(examples []Example, batch int, seed uint64, inOrder bool) Source {
	s := data.Sampler{N: len(examples), Batch: batch, Seed: seed, InOrder: inOrder}
	return func(step int) []Example {
		var out []Example
		for _, i := range s.Step(step) {
			out = append(out, examples[i])
		}
		return out
	}
}

// Run is a fine-tuning run. If Out is nil nothing is written.
type Run struct {
	Model     *roles.LoadedModel
	Trainer   *train.Trainer
	Source    Source
	Steps     int // of the whole run
	From      int // steps done already
	LR        float64
	Schedule  train.Schedule
	SaveEvery int
	SaveDType kernels.DType
	Seed      uint64
	Parts     fingerprint.Parts // fingerprint of the data, model and settings of the run
	Out       *rundir.Run
	Skipped   int // steps skipped because a gradient was not finite
	OnStep    func(step int, m rundir.Metrics)
	Notes     []string // what the user should know about how the run began

	skippedSteps int // steps skipped in a row
}

// Do trains to the end, or until ctx is done. In the latter case it finishes the present step, saves a checkpoint of it
// if Out is not nil, and returns ctx's error. last is the last finished step.
func (r *Run) Do(ctx context.Context) (last int, err error) {
	defer func() { err = names.Error(err) }()
	for step := r.From + 1; step <= r.Steps; step++ {
		if err := r.step(step); err != nil {
			return step - 1, err
		}
		if r.skippedSteps == train.MaxSkippedSteps {
			return step,
				fmt.Errorf("training step %d: for %d steps the gradient was not finite, and nothing was learned: "+
					"the weights have diverged: begin again, or go on from an earlier checkpoint (--model), with a "+
					"lower --lr", step, r.skippedSteps)
		}
		stop := ctx.Err() != nil
		if r.Out != nil && (step == r.Steps || stop || r.SaveEvery > 0 && step%r.SaveEvery == 0) {
			if err := r.Out.Sync(); err != nil {
				return step, err
			}
			st := rundir.State{Step: step, Total: r.Steps, Skipped: r.Skipped, Seed: r.Seed, Run: r.Parts}
			if err := rundir.SaveCheckpoint(r.Out.Checkpoint(step), st,
				func(dir string) error { return r.Model.Save(dir, r.SaveDType) }, r.Trainer.SaveState); err != nil {
				return step, err
			}
		}
		if stop && step < r.Steps {
			return step, ctx.Err()
		}
	}
	return max(r.Steps, r.From), nil
}

func (r *Run) step(step int) error {
	began := time.Now()
	examples := r.Source(step - 1)
	seqs := make([]train.Sequence, len(examples))
	trained := 0
	for i, e := range examples {
		seqs[i] = train.Sequence{IDs: e.IDs, Mask: e.Mask}
		trained += seqs[i].Trained()
	}
	var nll float64
	lr := r.LR * r.Schedule.Multiplier(step)
	st, err := r.Trainer.Step(seqs, func(_ int, logp, _, dlogp, _ []float32) error {
		for i, lp := range logp {
			nll -= float64(lp)
			dlogp[i] = float32(-1 / float64(trained))
		}
		return nil
	}, lr)
	if err != nil {
		return err
	}
	if r.skippedSteps++; st.Skipped == nil {
		r.skippedSteps = 0
	} else {
		r.Skipped++
	}
	// the weights are not finite, and training cannot change that
	if bad := new(train.NonFiniteError); errors.As(st.Skipped, &bad) {
		return r.dumpFailedBatch(examples, fmt.Errorf("training step %d: %w", step, bad))
	}
	seconds := time.Since(began).Seconds()
	m := rundir.Metrics{"train/loss": nll / float64(max(1, trained)), "train/grad_norm": st.GradNorm, "train/lr": lr,
		"train/tokens": float64(st.Tokens), "train/skipped": float64(r.Skipped), "timing_s/step": seconds,
		"perf/throughput": float64(st.Tokens) / seconds}
	if r.Out != nil {
		if err := r.Out.Metrics(step, m); err != nil {
			return err
		}
	}
	if r.OnStep != nil {
		r.OnStep(step, m)
	}
	return nil
}

// dumpFailedBatch writes the batch that gave a non-finite value to offending.jsonl in the run directory, and adds the
// file's path to the error.
func (r *Run) dumpFailedBatch(examples []Example, err error) error {
	if r.Out == nil {
		return err
	}
	path := filepath.Join(r.Out.Dir, "offending.jsonl")
	var text []byte
	for _, e := range examples {
		line := struct {
			IDs  []int32 `json:"ids"`
			Mask []int   `json:"mask"`
		}{e.IDs, make([]int, len(e.Mask))}
		for i, m := range e.Mask {
			if m {
				line.Mask[i] = 1
			}
		}
		b, merr := json.Marshal(line)
		if merr != nil {
			return err
		}
		text = append(append(text, b...), '\n')
	}
	if disk.WriteFile(path, text) != nil {
		return err
	}
	return fmt.Errorf("%w (the batch is in %s, sequence 0 first)", err, path)
}
