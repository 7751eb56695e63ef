package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/kernels/cpu"
	"github.com/zerosearch-go/zerosearch/rl"
	"github.com/zerosearch-go/zerosearch/rl/rundir"
)

// savedRun are the settings of a run of four steps, with evaluations, in out.
func savedRun(t *testing.T, out string) rl.Config {
	model, err := taughtModel()
	require.NoError(t, err)
	dir := t.TempDir()
	c := rl.Defaults()
	c.Policy.Model, c.Policy.DType, c.Algo.KLCoef, c.Optim.LR = model, "f32", 0, 1e-3
	c.Data.Data, c.Search.Mode, c.Search.Corpus = filepath.Join(dir, "q.jsonl"), "bm25", filepath.Join(dir, "c.jsonl")
	c.Data.EvalData, c.Data.EvalEvery = c.Data.Data, 3
	require.NoError(t, os.WriteFile(c.Data.Data, []byte(questions()), 0o644))
	require.NoError(t, os.WriteFile(c.Search.Corpus, []byte(`{"contents":"a is Ax"}`), 0o644))
	c.Rollout.BatchSize, c.Rollout.N, c.Rollout.MaxTurns, c.Rollout.MaxResponse = 2, 3, 1, 8
	c.Algo.DynamicSampling, c.Algo.MaxGenBatches = true, 2
	c.Schedule.TotalSteps, c.Schedule.SaveEvery, c.Schedule.Out = 4, 1, out
	return c
}

// doRun runs to the end, or until on, which is told of all progress, cancels it. It returns the last step, the error,
// the steps that were rolled out, and the trainer.
func doRun(t *testing.T, c rl.Config, on func(p rl.Progress, cancel func())) (last int, rolled map[int]bool,
	tr *rl.Trainer, err error) {
	dev, err := cpu.New(cpu.Options{})
	require.NoError(t, err)
	defer dev.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var mu sync.Mutex
	rolled = map[int]bool{}
	tr, err = rl.New(ctx, dev, c, rl.WithProgress(func(p rl.Progress) {
		mu.Lock()
		defer mu.Unlock()
		if p.Phase == rl.PhaseRollout {
			rolled[p.Step] = true
		}
		if on != nil {
			on(p, cancel)
		}
	}))
	require.NoError(t, err)
	defer tr.Close()
	last, err = tr.Run(ctx)
	return last, rolled, tr, err
}

// A run that is killed in the update of a step goes on from its recorded rollout, and ends with the bits of one that
// was never killed.
func TestKilledInTheUpdate(t *testing.T) {
	whole, killed := filepath.Join(t.TempDir(), "whole"), filepath.Join(t.TempDir(), "killed")
	c := savedRun(t, whole)
	copied := false
	last, _, _, err := doRun(t, c, func(p rl.Progress, _ func()) {
		if !copied && p.Step == 3 && p.Phase == rl.PhaseUpdate && p.Done == 1 { // what a killed process would leave
			copied = true
			require.NoError(t, os.CopyFS(killed, os.DirFS(whole)))
		}
	})
	require.NoError(t, err)
	require.Equal(t, 4, last)
	require.True(t, copied)
	require.NoFileExists(t, filepath.Join(whole, "rollout.jsonl"), "what is saved needs no rollout")
	require.Equal(t, []int{1, 2}, rundir.Steps(killed))

	resume := func(name string, change func(c *rl.Config, rollout string)) (map[int]bool, *rl.Trainer) {
		out := filepath.Join(t.TempDir(), name)
		require.NoError(t, os.CopyFS(out, os.DirFS(killed)))
		c := c
		c.Schedule.Out, c.Schedule.Resume = out, "auto"
		if change != nil {
			change(&c, filepath.Join(out, "rollout.jsonl"))
		}
		last, rolled, tr, err := doRun(t, c, nil)
		require.NoError(t, err)
		require.Equal(t, c.Schedule.TotalSteps, last)
		if c.Schedule.TotalSteps == 4 {
			sameRun(t, whole, out, "step-4")
		}
		return rolled, tr
	}
	rolled, tr := resume("resumed", nil)
	require.Equal(t, map[int]bool{4: true}, rolled)
	require.Regexp(t, `step 3 goes on from its recorded rollout of \d+ episodes`, fmt.Sprint(tr.Notes))

	again := map[int]bool{3: true, 4: true}
	rolled, _ = resume("damaged", func(_ *rl.Config, rollout string) {
		st, err := os.Stat(rollout)
		require.NoError(t, err)
		require.NoError(t, os.Truncate(rollout, st.Size()-1))
	})
	require.Equal(t, again, rolled, "half a rollout is made again")
	rolled, _ = resume("longer", func(c *rl.Config, _ string) { c.Schedule.TotalSteps = 5 })
	require.True(t, rolled[3], "a curriculum over more steps draws other noise")
	rolled, _ = resume("earlier", func(c *rl.Config, _ string) {
		require.NoError(t, os.RemoveAll(rundir.Checkpoint(c.Schedule.Out, 2)))
	})
	require.Equal(t, map[int]bool{2: true, 3: true, 4: true}, rolled, "it is of another step")
}

// A run that is told to stop while it rolls out does not wait for the update: it saves the rollout and the step before,
// the first step included.
func TestStoppedBeforeTheUpdate(t *testing.T) {
	whole := filepath.Join(t.TempDir(), "whole")
	c := savedRun(t, whole)
	_, _, _, err := doRun(t, c, nil)
	require.NoError(t, err)
	for _, step := range []int{1, 3} {
		c.Schedule.Out, c.Schedule.Resume = filepath.Join(t.TempDir(), "stopped"), ""
		c.Schedule.SaveEvery = 0
		last, rolled, tr, err := doRun(t, c, func(p rl.Progress, cancel func()) {
			if p.Step == step && p.Phase == rl.PhaseRollout {
				cancel()
			}
		})
		require.ErrorIs(t, err, context.Canceled)
		require.Equal(t, step-1, last)
		require.Equal(t, step, tr.RolloutSaved())
		require.True(t, rolled[step])
		require.Equal(t, step-1, stepsOf(c.Schedule.Out))
		if step > 1 {
			require.Equal(t, []int{step - 1}, rundir.Steps(c.Schedule.Out))
		} else {
			require.Empty(t, rundir.Steps(c.Schedule.Out))
		}
		c.Schedule.Resume = "auto"
		_, rolled, _, err = doRun(t, c, nil)
		require.NoError(t, err)
		require.False(t, rolled[step])
		sameRun(t, whole, c.Schedule.Out, "step-4")
	}
}
