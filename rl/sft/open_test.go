package sft_test

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/ref"
	"github.com/zerosearch-go/zerosearch/rl/config"
	"github.com/zerosearch-go/zerosearch/rl/rundir"
	"github.com/zerosearch-go/zerosearch/rl/sft"
)

// settings are a tiny model in a folder, and three rows for it.
func settings(t *testing.T) sft.Config {
	c := sft.Defaults()
	c.Model, c.Data, c.DType, c.LR = filepath.Join(t.TempDir(), "model"), filepath.Join(t.TempDir(), "rows.jsonl"),
		"f32", 1e-2
	require.NoError(t, os.MkdirAll(c.Model, 0o777))
	require.NoError(t, fresh(t, "", 0, 1).Model.Save(c.Model, kernels.F32))
	require.NoError(t, os.WriteFile(c.Data, []byte(`{"ids":[1,2,3],"mask":[0,1,1]}
{"ids":[4,5,6,7],"mask":[0,0,0,1]}
{"ids":[8,9],"mask":[1,1]}
`), 0o666))
	return c
}

// open is a new run of c, in the run directory c.Out if it is not "".
func open(t *testing.T, c sft.Config) *sft.Run {
	dev := ref.New()
	t.Cleanup(func() { dev.Close() })
	r, err := sft.New(t.Context(), dev, c)
	require.NoError(t, err)
	t.Cleanup(r.Close)
	if c.Out != "" {
		r.Out, err = rundir.Create(c.Out, r.From, c.Resume != "")
		require.NoError(t, err)
		t.Cleanup(func() { r.Out.Close() })
	}
	return r
}

// A run is made of its Config alone, and goes on from its last checkpoint with the bits of one that did not stop.
func TestNewAndResume(t *testing.T) {
	c := settings(t)
	for _, x := range []struct{ steps, epochs, batch, want int }{{0, 1, 3, 1}, {0, 1, 2, 2}, {0, 3, 2, 5},
		{5, 1, 8, 5}} {
		c.Steps, c.Epochs, c.BatchSize = x.steps, x.epochs, x.batch
		require.Equal(t, x.want, open(t, c).Steps, "%+v", x)
	}
	c.Steps, c.BatchSize, c.SaveEvery, c.Out = 6, 2, 3, filepath.Join(t.TempDir(), "whole")
	r := open(t, c)
	var first float64
	r.OnStep = func(step int, m rundir.Metrics) {
		if step == 1 {
			first = m["train/loss"]
		}
	}
	last, err := r.Do(t.Context())
	require.NoError(t, err)
	require.Equal(t, 6, last)
	require.InDelta(t, math.Log(12), first, 0.1, "an untrained model's")
	whole := c.Out

	c.Out, c.Steps = filepath.Join(t.TempDir(), "broken"), 3
	r = open(t, c)
	_, err = r.Do(t.Context())
	require.NoError(t, err)
	require.NoError(t, r.Out.Close())
	c.Steps, c.Resume = 6, "auto"
	r = open(t, c)
	require.Equal(t, 3, r.From)
	_, err = r.Do(t.Context())
	require.NoError(t, err)
	for _, name := range []string{"model.safetensors", "optimizer.safetensors"} {
		a, err := os.ReadFile(filepath.Join(rundir.Checkpoint(whole, 6), name))
		require.NoError(t, err)
		b, err := os.ReadFile(filepath.Join(rundir.Checkpoint(c.Out, 6), name))
		require.NoError(t, err)
		require.True(t, string(a) == string(b), name)
	}

	require.NoError(t, r.Out.Close())
	c.WeightDecay = 0.5
	_, err = sft.New(t.Context(), ref.New(), c)
	require.ErrorContains(t, err, "Config.WeightDecay was 0.01, is 0.5")
	require.ErrorContains(t, err, "add Config.Force")
}

// What cannot be is refused before anything is read. Errors name fields, and InFlags their flags.
func TestNewRefuses(t *testing.T) {
	for want, change := range map[string]func(c *sft.Config){
		"Config.Model is missing":                        func(c *sft.Config) { c.Model = "" },
		"Config.Data is missing":                         func(c *sft.Config) { c.Data = "" },
		"Config.LR must be above 0":                      func(c *sft.Config) { c.LR = 0 },
		"Config.BatchSize must be at least 1":            func(c *sft.Config) { c.BatchSize = 0 },
		"give Config.Steps or Config.Epochs":             func(c *sft.Config) { c.Steps, c.Epochs = 0, 0 },
		"Config.LoRAR must not be negative":              func(c *sft.Config) { c.LoRAR = -1 },
		"Config.Adapter and Config.LoRAR contradict":     func(c *sft.Config) { c.LoRAR, c.Adapter = 4, "a" },
		"Config.DType q8: q8 weights cannot be trained":  func(c *sft.Config) { c.DType = "q8" },
		"Config.DType must be f32, bf16, q8 or q4, not":  func(c *sft.Config) { c.DType = "f16" },
		"Config.KVDType must be f32 or bf16, not \"q8\"": func(c *sft.Config) { c.KVDType = "q8" },
		"Config.WarmupRatio: ":                           func(c *sft.Config) { c.WarmupRatio = 2 },
		"Config.Betas takes two values":                  func(c *sft.Config) { c.Betas = nil },
		"Config.LR must be a finite number":              func(c *sft.Config) { c.LR = math.NaN() },
	} {
		c := sft.Defaults()
		c.Model, c.Data = "no/such", "rows.jsonl"
		require.NoError(t, c.Check())
		change(&c)
		require.ErrorContains(t, c.Check(), want)
		_, err := sft.New(t.Context(), ref.New(), c)
		require.ErrorContains(t, err, want)
	}
	c := sft.Defaults()
	require.Equal(t, "--model is missing: give the folder of the model to fine-tune",
		sft.InFlags(c.Check().Error()))
	c = settings(t)
	c.Model = "no/such"
	_, err := sft.New(t.Context(), ref.New(), c)
	require.ErrorContains(t, err, "no/such")
	c = settings(t)
	require.NoError(t, os.WriteFile(c.Data, []byte(`{"messages":[{"role":"user","content":"a"}]}`), 0o666))
	_, err = sft.New(t.Context(), ref.New(), c)
	require.ErrorContains(t, err, "row 1: ")
}

// The names of sft are flags of their own: those of a run are translated on the way.
func TestNamesOfRuns(t *testing.T) {
	err := config.Error(fmt.Errorf("opening x: say --lr and --no-such"))
	require.EqualError(t, err, "opening x: say Optim.LR and --no-such")
	require.Equal(t, "say --lr, Other.LR", sft.InFlags("say Config.LR, Other.LR"))
}
