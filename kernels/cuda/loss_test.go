//go:build !nogpu && linux

package cuda

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/kernels"
)

// TestLogProbBlocks: however many rows of logits exist at a time, log-probs have the same bits, and gradients of h
// too. Those of a weight are summed over blocks of tokens, in the order of the tokens.
func TestLogProbBlocks(t *testing.T) {
	const rows, v, k, invTemp = 7, 2*chunkIDs + 5, 8, 0.9
	for _, wt := range []kernels.DType{kernels.F32, kernels.BF16, kernels.Q8} {
		t.Run(fmt.Sprint(wt), func(t *testing.T) {
			d, err := open()
			require.NoError(t, err)
			random := rand.New(rand.NewPCG(1, 2))
			tensor := func(rows, cols int) kernels.Tensor {
				x := make([]float32, rows*cols)
				for i := range x {
					x[i] = float32(random.NormFloat64())
				}
				y, err := kernels.NewTensor(d, kernels.F32, rows, cols)
				require.NoError(t, err)
				kernels.Upload(d, y, x)
				return y
			}
			get := func(y kernels.Tensor) []float32 {
				x := make([]float32, y.Len())
				require.NoError(t, kernels.Download(d, x, y))
				return x
			}
			h, values, lp, dl := tensor(rows, k), tensor(v, k), tensor(3, rows), tensor(2, rows)
			dh, dw := tensor(rows, k), tensor(v, k)
			w, err := d.NewWeight(v, k, wt)
			require.NoError(t, err)
			d.Pack(w, 0, values)
			targets, err := kernels.NewTensor(d, kernels.I32, rows, 1)
			require.NoError(t, err)
			kernels.Upload(d, targets, []int32{0, chunkIDs - 1, chunkIDs, v - 1, 2*chunkIDs - 1, 2 * chunkIDs, 17})
			run := func(blocks int) (scores, gh, gw []float32) {
				defer func(old int) { logitRows = old }(logitRows)
				logitRows = blocks
				column := func(x kernels.Tensor, i int) kernels.Tensor { return x.RowRange(i, 1).Reshape(rows, 1) }
				out := kernels.LogProbs{Logp: column(lp, 0), Entropy: column(lp, 1), LSE: column(lp, 2)}
				d.LogProb(out, h, w, targets, invTemp)
				d.Zero(dw)
				d.LogProbBackward(dh, dw, h, w, targets, out, column(dl, 0), column(dl, 1), invTemp)
				return get(lp), get(dh), get(dw)
			}
			scores, gh, gw := run(4096)
			few, fewH, fewW := run(3)
			require.Equal(t, scores, few)
			require.Equal(t, gh, fewH)
			require.InDeltaSlice(t, gw, fewW, 1e-6)
			for _, x := range []kernels.Tensor{h, values, lp, dl, dh, dw, targets} {
				x.Buf.Free()
			}
			w.Free()
			require.NoError(t, d.Close())
		})
	}
}
