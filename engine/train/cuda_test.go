//go:build !nogpu && linux

package train

import (
	"testing"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/cuda"
	"github.com/zerosearch-go/zerosearch/kernels/cuda/cudatest"
	"github.com/zerosearch-go/zerosearch/model"
)

// TestStepFails: wherever memory runs out in a step of training, a launch fails, or the GPU is lost, there is one
// error, and nothing is left on the GPU.
func TestStepFails(t *testing.T) {
	c := &model.Config{Arch: "llama", Vocab: 40, Hidden: 16, Inter: 16, Layers: 1, Heads: 2, KVHeads: 1, HeadDim: 8,
		MaxPos: 64,
		Eps:    1e-6, RopeTheta: 1e4, Tied: true}
	step := func(d *cuda.Device) error {
		m, err := model.NewRandom(d, c, model.Options{DType: kernels.BF16, Trainable: true}, 7)
		if err != nil {
			return err
		}
		defer m.Close()
		tr, err := New(d, m, nil, Options{Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, MaxGradNorm: 1, MicroBatchTokens: 64})
		if err != nil {
			return err
		}
		defer tr.Close()
		var loss float64
		seqs, n := split([]int32{1, 2, 3, 4, 5, 6, 7}, []int32{0, 0, 1, 1, 0, 1, 1}, []int32{4, 3})
		_, err = tr.Step(seqs, crossEntropy(n, &loss), 1e-3)
		return err
	}
	cudatest.EachKind(t, step)
}
