package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/engine"
	"github.com/zerosearch-go/zerosearch/kernels/cpu"
	"github.com/zerosearch-go/zerosearch/model"
	"github.com/zerosearch-go/zerosearch/rl"
	"github.com/zerosearch-go/zerosearch/rl/config"
)

// A step that trains an adapter forgets what was computed with the adapter, and nothing that the simulator has
// computed with the base.
func TestUpdateKeepsPagesOfTheBase(t *testing.T) {
	policy, err := taughtModel()
	require.NoError(t, err)
	q := filepath.Join(t.TempDir(), "q.jsonl")
	require.NoError(t, os.WriteFile(q, []byte(questions()), 0o644))
	dev, err := cpu.New(cpu.Options{})
	require.NoError(t, err)
	defer dev.Close()
	run, err := rl.New(t.Context(), dev, config.Config{
		Policy: config.Policy{Model: policy, DType: "f32", LoRAR: 4, LoRATargets: "all-linear"},
		Data:   config.Data{Data: q},
		Search: config.Search{Mode: "simulate_sft", SimulationLLM: "same", SimMaxTokens: 4, TopK: 5,
			Curriculum: "constant"},
		Rollout: config.Rollout{BatchSize: 4, N: 4, MaxTurns: 1, MaxResponse: 8, MaxObs: 100, MaxStart: 1000,
			MaxContext: 1200, Concurrency: 16, Temperature: 1, TopP: 1},
		Algo: config.Algo{Algo: "grpo", Reward: "f1", ClipLow: 0.2, ClipHigh: 0.2, DualClip: 3, LossAgg: "token-mean"},
		Optim: config.Optim{LR: 1e-3, Betas: []float64{0.9, 0.999}, Eps: 1e-8, LRSchedule: "constant",
			MicroBatchTokens: 512},
		Schedule: config.Schedule{TotalSteps: 2, Seed: 1},
	})
	require.NoError(t, err)
	defer run.Close()
	instruction := make([]int32, 150)
	for i := range instruction {
		instruction[i] = int32('a' + i%20)
	}
	request := func(a *model.Adapter) engine.Request {
		return engine.Request{Model: "policy", Adapter: a, Prompt: instruction, MaxTokens: 1}
	}
	cached := func(a *model.Adapter) int {
		res, err := run.Engine.Generate(t.Context(), request(a))
		require.NoError(t, err)
		return res.CachedTokens
	}
	for step := 1; step <= 2; step++ {
		for _, a := range []*model.Adapter{nil, run.Policy.Adapter} {
			cached(a)
			require.Equal(t, 149, cached(a))
		}
		before := run.Engine.Stats().Models[0].Cached
		require.NoError(t, run.Step(t.Context(), step))
		require.Greater(t, run.Engine.Stats().Models[0].Cached, before)
		require.Equal(t, 149, cached(nil), "the base is as it was")
		require.Zero(t, cached(run.Policy.Adapter), "the adapter is not")
	}
}
