//go:build !nogpu && linux

package engine

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/cpu"
	"github.com/zerosearch-go/zerosearch/kernels/cuda/cudatest"
	"github.com/zerosearch-go/zerosearch/model"
)

// TestCUDA: a model generates on the CUDA device, whose GPU is simulated, what it generates on the CPU: the same ids, log-probs within the
// rounding of another order of sums.
func TestCUDA(t *testing.T) {
	c := &model.Config{Arch: "qwen2", Vocab: 300, Hidden: 64, Inter: 128, Layers: 2, Heads: 4, KVHeads: 2, HeadDim: 16, MaxPos: 256, Eps: 1e-6,
		RopeTheta: 1e4, QKVBias: true, Tied: true}
	generate := func(d kernels.Device, dt kernels.DType) Result {
		m, err := model.NewRandom(d, c, model.Options{DType: dt}, 7)
		require.NoError(t, err)
		defer m.Close()
		e := New(d, Options{})
		require.NoError(t, e.AddModel("m", m, ModelOptions{KVPages: 16, MaxContext: 128, MaxSequences: 4, MaxBatchTokens: 64}))
		prompt := make([]int32, 40)
		for i := range prompt {
			prompt[i] = int32(i*i%299 + 1)
		}
		r, err := e.Generate(context.Background(), Request{Model: "m", Prompt: prompt, MaxTokens: 8, EOS: []int32{}})
		require.NoError(t, err)
		e.Close()
		return r
	}
	for _, c := range []struct {
		t     kernels.DType
		delta float64
	}{{kernels.F32, 1e-4}, {kernels.BF16, 3e-2}, {kernels.Q8, 3e-2}} {
		host, err := cpu.New(cpu.Options{})
		require.NoError(t, err)
		want := generate(host, c.t)
		require.NoError(t, host.Close())
		gpu := cudatest.Open(t)
		got := generate(gpu, c.t)
		require.NoError(t, gpu.Close())
		require.Equal(t, want.IDs, got.IDs, c.t)
		require.InDeltaSlice(t, want.Logprobs, got.Logprobs, c.delta, c.t)
	}
}
