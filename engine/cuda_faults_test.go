//go:build !nogpu && linux

package engine

import (
	"context"
	"testing"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/cuda"
	"github.com/zerosearch-go/zerosearch/kernels/cuda/cudatest"
	"github.com/zerosearch-go/zerosearch/model"
)

// direct is a device without its Recorder: after a launch that fails while a pass is recorded, the engine goes on
// without recordings.
type direct struct {
	kernels.Device
	kernels.Asynchronous
	kernels.ThreadBound
}

// TestGenerationFails: wherever memory runs out while a small model generates, a launch fails, or the GPU is lost,
// there is one error, and nothing is left on the GPU.
func TestGenerationFails(t *testing.T) {
	c := &model.Config{Arch: "qwen2", Vocab: 40, Hidden: 16, Inter: 16, Layers: 1, Heads: 2, KVHeads: 1, HeadDim: 8,
		MaxPos: 64,
		Eps:    1e-6, RopeTheta: 1e4, QKVBias: true, Tied: true}
	generate := func(d *cuda.Device) error {
		m, err := model.NewRandom(d, c, model.Options{DType: kernels.BF16}, 7)
		if err != nil {
			return err
		}
		defer m.Close()
		e := New(direct{d, d, d}, Options{})
		defer e.Close()
		if err := e.AddModel("m", m, ModelOptions{KVPages: 4, MaxContext: 32, MaxSequences: 2,
			MaxBatchTokens: 8}); err != nil {
			return err
		}
		_, err = e.Generate(context.Background(), Request{Model: "m", Prompt: []int32{1, 2, 3}, MaxTokens: 4,
			Temperature: 1,
			EOS:         []int32{}})
		return err
	}
	cudatest.EachKind(t, generate)
}
