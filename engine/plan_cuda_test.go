//go:build !nogpu && linux

package engine

import (
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/engine/train"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/cuda"
	"github.com/zerosearch-go/zerosearch/kernels/cuda/cudatest"
	"github.com/zerosearch-go/zerosearch/kernels/ref"
	"github.com/zerosearch-go/zerosearch/model"
)

// usage tells the most memory that is in use on a GPU when something is waited for.
type usage struct {
	*cuda.Device
	most atomic.Int64
}

func (u *usage) look() {
	total, available, err := u.Memory()
	if err == nil && total-available > u.most.Load() {
		u.most.Store(total - available)
	}
}

func (u *usage) Fetch(dst []byte, src kernels.Tensor) kernels.Ticket {
	u.look()
	return u.Device.Fetch(dst, src)
}

func (u *usage) Sync() error {
	u.look()
	return u.Device.Sync()
}

// A plan for a GPU is what a run has allocated there at its peak, within a few per cent: generation, and a step of
// training.
func TestPlanOfCUDA(t *testing.T) {
	c := &model.Config{Arch: "qwen2", Vocab: 300, Hidden: 64, Inter: 128, Layers: 2, Heads: 4, KVHeads: 2, HeadDim: 16,
		MaxPos: 256, Eps: 1e-6,
		RopeTheta: 1e4, QKVBias: true, Tied: true}
	dir := t.TempDir()
	m, err := model.NewRandom(ref.New(), c, model.Options{DType: kernels.BF16}, 7)
	require.NoError(t, err)
	require.NoError(t, m.Save(dir, model.SaveOptions{}))
	m.Close()
	plan := func(x PlanModel) int64 {
		x.Name, x.Device, x.Config, x.DType = "m", "cuda:0", c, kernels.BF16
		mem, err := Plan{Device: "cuda:0", Models: []PlanModel{x}}.Memory()
		require.NoError(t, err)
		for _, l := range mem.Lines {
			t.Logf("%-8s %-20s %9d %s", l.Model, l.What, l.Bytes, l.Device)
		}
		return mem.On("cuda:0")
	}
	ids := prompt(64, 1)
	for i := range ids {
		ids[i] %= int32(c.Vocab)
	}
	for name, run := range map[string]func(dev *usage) int64{
		"generate": func(dev *usage) int64 {
			o := ModelOptions{KVPages: 8, MaxContext: 128, MaxSequences: 2, MaxBatchTokens: 64}
			m, err := model.Load(dev, dir, model.Options{DType: kernels.BF16})
			require.NoError(t, err)
			defer m.Close()
			e := New(dev, Options{LogitsBytes: 4 * 300 * 2})
			require.NoError(t, e.AddModel("m", m, o))
			_, err = e.Generate(t.Context(), Request{Model: "m", Prompt: ids, MaxTokens: 3, EOS: []int32{}})
			require.NoError(t, err)
			e.Close()
			return plan(PlanModel{Engine: &PlanEngine{ModelOptions: o, LogitsBytes: 4 * 300 * 2}})
		},
		"train": func(dev *usage) int64 {
			m, err := model.Load(dev, dir, model.Options{DType: kernels.BF16, Trainable: true})
			require.NoError(t, err)
			defer m.Close()
			tr, err := train.New(dev, m, nil, train.Options{Longest: 64, Sequences: 1})
			require.NoError(t, err)
			defer tr.Close()
			_, err = tr.Step([]train.Sequence{{IDs: ids, Mask: all(64)}}, func(_ int, _, _, dlogp, _ []float32) error {
				dlogp[0] = 1
				return nil
			}, 1e-3)
			require.NoError(t, err)
			return plan(PlanModel{Full: true, Train: &PlanPass{Tokens: 64, Sequences: 1, Longest: 64}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			dev := &usage{Device: cudatest.Open(t)}
			_, free, err := dev.Memory()
			require.NoError(t, err)
			total, _, _ := dev.Memory()
			planned := run(dev)
			require.NoError(t, dev.Close())
			require.InEpsilon(t, dev.most.Load()-(total-free), planned, 0.05)
		})
	}
}
