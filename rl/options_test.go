package rl

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/kernels/cpu"
	"github.com/zerosearch-go/zerosearch/rl/reward"
	"github.com/zerosearch-go/zerosearch/rl/rundir"
	"github.com/zerosearch-go/zerosearch/rl/search"
)

// tinyRun is a configuration of a run of the demo's policy on one question.
func tinyRun(t *testing.T) Config {
	c := Defaults()
	c.Policy.Model, c.Policy.DType = "../demo/models/policy", "bf16"
	c.Data.Data = filepath.Join(t.TempDir(), "q.jsonl")
	question := `{"question":"who made the bell of Arel?","golden_answers":["Orin"]}` + "\n"
	require.NoError(t, os.WriteFile(c.Data.Data, []byte(question), 0o644))
	c.Search.Mode, c.Algo.KLCoef, c.Rollout.BatchSize, c.Rollout.N, c.Schedule.TotalSteps = "none", 0, 1, 2, 1
	c.Rollout.MaxTurns, c.Rollout.MaxResponse, c.Rollout.MaxContext, c.Rollout.MaxStart = 1, 8, 96, 64
	return c
}

type tracked map[int]rundir.Metrics

func (k tracked) Track(step int, m rundir.Metrics) error {
	k[step] = m
	if step > 1 {
		return errors.New("no room")
	}
	return nil
}

type found string

func (found) Name() string { return "found" }

func (f found) Search(context.Context, search.Query) (search.Documents, error) {
	return search.Documents{Text: string(f), Docs: []string{string(f)}}, nil
}

// A program gives its reward, its search engine and its tracker; New owns the run directory and lets it go.
func TestOptions(t *testing.T) {
	c := tinyRun(t)
	c.Search.Mode = "google" // for which there is no key: the searcher takes its place
	c.Schedule.Out, c.Schedule.TotalSteps = filepath.Join(t.TempDir(), "run"), 2
	seen := tracked{}
	var asked int
	own := reward.Func(func(reward.Attempt) float64 { asked++; return float64(asked) })
	dev, err := cpu.New(cpu.Options{})
	require.NoError(t, err)
	defer dev.Close()
	tr, err := New(t.Context(), dev, c, WithReward(own), WithSearcher(found("Orin")), WithTracker(seen))
	require.NoError(t, err)
	_, err = New(t.Context(), dev, c, WithSearcher(found("")))
	require.ErrorContains(t, err, "this process is writing to")
	last, err := tr.Run(t.Context())
	require.EqualError(t, err, "step 2: tracking step 2: no room")
	require.Equal(t, 1, last)
	require.Equal(t, 1.5, seen[1]["critic/score/mean"])
	tr.Close()

	text, err := os.ReadFile(filepath.Join(c.Schedule.Out, "config.yaml"))
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(string(text), "# zerosearch train, "))
	require.Contains(t, string(text), "\nsearch-mode: \"google\"\n")
	require.Contains(t, string(text), "\nbetas: [0.9,0.999]\n")
	_, err = New(t.Context(), dev, c, WithSearcher(found("")))
	require.ErrorContains(t, err, "already holds a run: add Schedule.Resume auto to go on with it, or choose another "+
		"Schedule.Out")

	gone, cancel := context.WithCancel(t.Context())
	cancel()
	c.Schedule.Out = filepath.Join(t.TempDir(), "never")
	_, err = New(gone, dev, c, WithSearcher(found("")))
	require.ErrorIs(t, err, context.Canceled)
	require.NoDirExists(t, c.Schedule.Out, "nothing is done for a context that has ended")
}
