//go:build !nogpu && linux

package engine

import (
	"encoding/json"
	"math"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/cuda/cudatest"
	"github.com/zerosearch-go/zerosearch/model"
)

// TestSmolLM2OnCUDA: SmolLM2-135M in BF16 writes on a GPU that is simulated the 8 tokens that it writes on the CPU. Its
// log-probs are as far from those in F32 as the CPU's are, which rounds to BF16 in the same places but sums in another
// order.
func TestSmolLM2OnCUDA(t *testing.T) {
	if os.Getenv("ZEROSEARCH_SIMULATED_GPU") == "" {
		t.Skip("it takes a minute or two: set ZEROSEARCH_SIMULATED_GPU=1, and ZEROSEARCH_SMOLLM2 to a folder with " +
			"SmolLM2-135M-Instruct")
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
	t.Logf("loaded in %.0f s, 16 tokens read and 8 written in %.0f s", loaded.Sub(start).Seconds(),
		time.Since(loaded).Seconds())
	e.Close()
	m.Close()
	require.NoError(t, d.Close())
	require.Equal(t, want.IDs, got.IDs)
	exact, err := smollm2(t, kernels.F32, o).Score(t.Context(), "m", nil, slices.Concat(request.Prompt, want.IDs),
		ScoreOptions{})
	require.NoError(t, err)
	var cpu, gpu float64
	for i, x := range exact.Logprobs[len(request.Prompt)-1:] {
		cpu, gpu = max(cpu, math.Abs(float64(x-want.Logprobs[i]))), max(gpu, math.Abs(float64(x-got.Logprobs[i])))
	}
	t.Logf("log-probs differ from F32 by at most %.3f, on the CPU by %.3f", gpu, cpu)
	require.Less(t, gpu, 2*cpu)
	require.Less(t, gpu, 0.15)
}
