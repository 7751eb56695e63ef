package train

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/ref"
	"github.com/zerosearch-go/zerosearch/model"
)

// Around 1, neighbouring bf16 values are 2^-7 apart above and 2^-8 below: a change that stays on one side of the
// rounding boundary is lost in bf16, and one that crosses it, however small, is not.
func TestCompareBF16(t *testing.T) {
	before := BF16Sample{{1, 1, 1, 1 + 1.0/512, 2}, {-1}}
	after := BF16Sample{{1 + 1.0/512, 1 + 1.0/128, 1, 1 + 3.0/512, 2 + 1.0/128}, {-1 - 1.0/1024}}
	changed, below := after.Compare(before)
	require.Equal(t, 5, changed)
	require.Equal(t, 3, below, "the first, the last of the first row, and that of the second")
}

// The first step of AdamW moves every weight by about the learning rate: one far below the spacing of bf16 is lost in
// all weights, one far above it in none. Of f32 weights nothing is counted.
func TestBelowBF16(t *testing.T) {
	step := func(dtype kernels.DType, lr float64) (changed, below int) {
		m, err := model.NewRandom(ref.New(), &model.Config{Arch: "llama", Vocab: 40, Hidden: 16, Inter: 24, Layers: 2,
			Heads: 2, KVHeads: 1, HeadDim: 8, Eps: 1e-5, RopeTheta: 10000, MaxPos: 64},
			model.Options{DType: dtype, Trainable: true}, 1)
		require.NoError(t, err)
		defer m.Close()
		tr, err := New(m.Device, m, nil, Options{KVType: dtype})
		require.NoError(t, err)
		defer tr.Close()
		ids := []int32{1, 2, 3, 4, 5, 6, 7, 20}
		var sum float64
		before, err := tr.SampleBF16()
		require.NoError(t, err)
		_, err = tr.Step([]Sequence{{IDs: ids, Mask: []bool{false, true, true, true, true, true, true, true}}},
			crossEntropy(7, &sum), lr)
		require.NoError(t, err)
		after, err := tr.SampleBF16()
		require.NoError(t, err)
		return after.Compare(before)
	}
	changed, below := step(kernels.BF16, 1e-9)
	require.Greater(t, changed, 100)
	require.Greater(t, float64(below), 0.99*float64(changed))
	changed, below = step(kernels.BF16, 0.1)
	require.Less(t, float64(below), 0.01*float64(changed))
	changed, _ = step(kernels.F32, 0.1)
	require.Zero(t, changed)
}
