package main

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/bench"
	"github.com/zerosearch-go/zerosearch/rl/plan"
)

// plan --json has the memory and the measured time of a step; where none is measured, it says why.
func TestPlanTimes(t *testing.T) {
	defer func(f func(context.Context, bench.RooflineOptions, ...bench.GRPOTest) ([]bench.RooflineStep, error)) {
		measureSteps = f
	}(measureSteps)
	measureSteps = bench.StepTimes
	model, err := taughtModel()
	require.NoError(t, err)
	var got struct {
		plan.Summary
		Step *plannedTime `json:"step_time"`
	}
	of := func(flags ...string) {
		got.Step = nil
		require.NoError(t, json.Unmarshal([]byte(mustRun(t, "", append([]string{"plan", "--model", model, "--json"},
			flags...)...)), &got))
	}
	of("--search-mode", "simulate_sft", "--total-steps", "3", "--train-batch-size", "2", "--n", "2")
	require.NotEmpty(t, got.Memory)
	s := got.Step
	require.Positive(t, s.Seconds)
	require.GreaterOrEqual(t, s.Most, s.Seconds)
	require.InDelta(t, 3*s.Seconds, s.All, 1e-9)
	require.Equal(t, 1, s.Searches)
	sum := 0.
	for _, p := range s.Phases {
		sum += p.Seconds
	}
	require.InEpsilon(t, s.Seconds, sum, 1e-6)
	of("--device", "cuda:99", "--search-mode", "bm25", "--corpus", "x")
	require.Contains(t, got.Step.Unknown, "bench roofline --gpu")
	of("--for", "serve")
	require.Nil(t, got.Step)
}
