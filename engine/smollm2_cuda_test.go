//go:build !nogpu && linux

package engine

import (
	"encoding/json"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/cuda/cudatest"
	"github.com/zerosearch-go/zerosearch/model"
)

// TestSmolLM2OnCUDA: SmolLM2-135M in BF16 writes on a GPU that is simulated the 8 tokens that it writes on the CPU, with its
// log-probs within the rounding of another order of sums.
func TestSmolLM2OnCUDA(t *testing.T) {
	if os.Getenv("ZEROSEARCH_SIMULATED_GPU") == "" {
		t.Skip("it takes a minute or two: set ZEROSEARCH_SIMULATED_GPU=1, and ZEROSEARCH_SMOLLM2 to a folder with SmolLM2-135M-Instruct")
	}
	o := ModelOptions{KVPages: 4, MaxContext: 64, MaxSequences: 1, MaxBatchTokens: 16}
	host := smollm2(t, kernels.BF16, o)
	text, err := os.ReadFile("testdata/penalties_smollm2.json")
	require.NoError(t, err)
	var g struct{ Prompt []int32 }
	require.NoError(t, json.Unmarshal(text, &g))
	request := Request{Model: "m", Prompt: g.Prompt[:16], MaxTokens: 8, EOS: []int32{}}
	want, err := host.Generate(t.Context(), request)
	require.NoError(t, err)

	start := time.Now()
	d := cudatest.Open(t)
	m, err := model.Load(d, os.Getenv("ZEROSEARCH_SMOLLM2"), model.Options{DType: kernels.BF16})
	require.NoError(t, err)
	e := New(d, Options{})
	require.NoError(t, e.AddModel("m", m, o))
	loaded := time.Now()
	got, err := e.Generate(t.Context(), request)
	require.NoError(t, err)
	t.Logf("loaded in %.0f s, 16 tokens read and 8 written in %.0f s", loaded.Sub(start).Seconds(), time.Since(loaded).Seconds())
	e.Close()
	m.Close()
	require.NoError(t, d.Close())
	require.Equal(t, want.IDs, got.IDs)
	require.InDeltaSlice(t, want.Logprobs, got.Logprobs, 5e-2)
}
