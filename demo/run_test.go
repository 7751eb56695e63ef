package demo

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/kernels/cpu"
	"github.com/zerosearch-go/zerosearch/rl/config"
)

// short runs two small steps and returns the files that they write.
func short(t *testing.T, threads int, change func(c *config.Config)) (*Result, map[string][]byte) {
	dev, err := cpu.New(cpu.Options{Threads: threads})
	require.NoError(t, err)
	defer dev.Close()
	dir := filepath.Join(t.TempDir(), "run")
	o := Options{Dir: dir, Seed: 3, Steps: 2, held: 8, configure: func(c *config.Config) {
		c.Rollout.BatchSize, c.Rollout.N, c.Algo.MiniBatch = 4, 4, 0
		if change != nil {
			change(c)
		}
	}}
	r, err := Run(t.Context(), dev, o)
	require.NoError(t, err)
	files := map[string][]byte{}
	for _, name := range []string{"episodes.jsonl", "checkpoints/step-2/model.safetensors",
		"checkpoints/step-2/optimizer.safetensors"} {
		files[name], err = os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
	}
	return r, files
}

// The sampler's log-probs equal the trainer's bit for bit. A run writes the same bytes for any number of threads and of
// episodes in flight.
func TestRunIsExact(t *testing.T) {
	for _, dtype := range []string{"bf16", "f32"} {
		r, want := short(t, 1, func(c *config.Config) { c.Policy.DType = dtype })
		require.Zero(t, r.LogprobDiff, "old log-probs are the trainer's (%s)", dtype)
		require.Len(t, r.Curve, 2)
		if dtype == "f32" {
			continue
		}
		_, got := short(t, 2, func(c *config.Config) { c.Rollout.Concurrency = 3 })
		for name := range want {
			require.True(t, string(want[name]) == string(got[name]), "%s differs", name)
		}
	}
}

// A directory that holds a run is not overwritten.
func TestRunRefusesAnOldRun(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "metrics.jsonl"), []byte("{\"step\":1}\n"), 0o644))
	_, err := Run(t.Context(), nil, Options{Dir: dir})
	require.ErrorContains(t, err, "already holds a run")
}

// TestRecipe: recipes/demo.yaml trains with the demo's settings.
func TestRecipe(t *testing.T) {
	o := Options{Dir: "d", Steps: 16}
	require.Equal(t, o.Size().Steps, o.Steps)
	c := o.config()
	text, err := os.ReadFile("../recipes/demo.yaml")
	require.NoError(t, err)
	var recipe, demo map[string]any
	require.NoError(t, yaml.Unmarshal(text, &recipe))
	require.NoError(t, yaml.Unmarshal(c.YAML(), &demo))
	delete(recipe, "out")
	number := func(v any) any { // the parser takes 2e-4 for text
		if f, err := strconv.ParseFloat(fmt.Sprint(v), 64); err == nil {
			return f
		}
		return v
	}
	for name, value := range recipe {
		require.Equal(t, number(demo[name]), number(value), name)
	}
}
