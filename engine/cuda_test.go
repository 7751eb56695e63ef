//go:build !nogpu && linux

package engine

import (
	"context"
	"maps"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/cpu"
	"github.com/zerosearch-go/zerosearch/kernels/cuda"
	"github.com/zerosearch-go/zerosearch/kernels/cuda/cudatest"
	"github.com/zerosearch-go/zerosearch/model"
)

// TestCUDA: a model generates on the CUDA device, whose GPU is simulated, what it generates on the CPU: the same ids,
// log-probs within the rounding of another order of sums.
func TestCUDA(t *testing.T) {
	c := &model.Config{Arch: "qwen2", Vocab: 300, Hidden: 64, Inter: 128, Layers: 2, Heads: 4, KVHeads: 2, HeadDim: 16,
		MaxPos: 256, Eps: 1e-6,
		RopeTheta: 1e4, QKVBias: true, Tied: true}
	generate := func(d kernels.Device, dt kernels.DType) Result {
		m, err := model.NewRandom(d, c, model.Options{DType: dt}, 7)
		require.NoError(t, err)
		defer m.Close()
		e := New(d, Options{})
		require.NoError(t,
			e.AddModel("m", m, ModelOptions{KVPages: 16, MaxContext: 128, MaxSequences: 4, MaxBatchTokens: 64}))
		prompt := make([]int32, 40)
		for i := range prompt {
			prompt[i] = int32(i*i%299 + 1)
		}
		r, err := e.Generate(context.Background(), Request{Model: "m", Prompt: prompt, MaxTokens: 8, EOS: []int32{}})
		require.NoError(t, err)
		if _, records := d.(kernels.Recorder); records {
			require.Positive(t, e.Stats().Models[0].Replayed, "passes are replayed")
		}
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

// TestCUDAReplays: a decode pass, of dozens of launches when they are made one by one, is one launch of a graph when it
// is replayed, beside one upload and the kernel that feeds it the id drawn before.
func TestCUDAReplays(t *testing.T) {
	c := &model.Config{Arch: "qwen2", Vocab: 60, Hidden: 32, Inter: 32, Layers: 3, Heads: 2, KVHeads: 1, HeadDim: 16,
		MaxPos: 64, Eps: 1e-6,
		RopeTheta: 1e4, QKVBias: true, Tied: true}
	type calls struct{ kernels, graphs, uploads, waits int }
	machine := cudatest.Install(t, cudatest.A100())
	device, err := cuda.New(0)
	require.NoError(t, err)
	m, err := model.NewRandom(device, c, model.Options{DType: kernels.BF16}, 7)
	require.NoError(t, err)
	count := func(d kernels.Device, tokens int) (n calls, ids []int32) {
		before := maps.Clone(machine.Calls)
		e := New(d, Options{})
		require.NoError(t,
			e.AddModel("m", m, ModelOptions{KVPages: 4, MaxContext: 64, MaxSequences: 2, MaxBatchTokens: 16}))
		r, err := e.Generate(context.Background(), Request{Model: "m", Prompt: []int32{1, 2, 3}, MaxTokens: tokens,
			EOS: []int32{}})
		require.NoError(t, err)
		e.Close()
		made := func(function string) int { return machine.Calls[function] - before[function] }
		return calls{made("LaunchKernel"), made("GraphLaunch"), made("MemcpyHtoD"), made("EventSynchronize")}, r.IDs
	}
	// perPass is what a pass more costs, of passes that are all of one shape.
	perPass := func(d kernels.Device) (calls, []int32) {
		few, _ := count(d, 8)
		many, ids := count(d, 16)
		passes := func(a, b int) int { return (b - a) / 8 }
		return calls{passes(few.kernels, many.kernels), passes(few.graphs, many.graphs),
			passes(few.uploads, many.uploads),
			passes(few.waits, many.waits)}, ids
	}
	type plain struct{ kernels.Device } // hides that it is a Recorder and Asynchronous
	direct, want := perPass(plain{device})
	replayed, got := perPass(device)
	require.Equal(t, want, got)
	require.Greater(t, direct.kernels, 12*c.Layers)
	require.Equal(t, calls{kernels: 1, graphs: 1, uploads: 1, waits: 1}, replayed)
	t.Logf("a pass of %d layers: %d kernels, or a graph", c.Layers, direct.kernels)
	m.Close()
	require.NoError(t, device.Close())
}
