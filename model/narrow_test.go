package model

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/ref"
)

// TestNarrowOperands: on a device that wants operands of products in BF16 a BF16 model gives the same bits, forward and
// backward, with an adapter and without.
func TestNarrowOperands(t *testing.T) {
	for name, c := range tinyConfigs() {
		for _, adapted := range []bool{false, true} {
			seqs, weights := randomIDs(c, 3, 6, 1, 9)
			run := func(dev kernels.Device) (out [][]float32) {
				m := random(t, dev, c, Options{DType: kernels.BF16, Trainable: !adapted}, 5)
				require.Equal(t, dev.Operand(kernels.BF16), m.operand())
				r := newRig(t, m, 40, WorkspaceOptions{Keep: true})
				var params []*Param
				if adapted {
					var err error
					r.a, err = NewAdapter(m, AdapterConfig{R: 3, Alpha: 6}, true, 7)
					require.NoError(t, err)
					t.Cleanup(r.a.Close)
					params = r.a.Params()
				} else {
					params = m.Params()
				}
				r.train(seqs, weights)
				for _, p := range params {
					out = append(out, r.host(p.Grad))
				}
				plain := newRig(t, m, 40, WorkspaceOptions{})
				plain.a = r.a
				return append(out, plain.logits(plain.forward(seqs, nil)))
			}
			require.Equal(t, run(ref.New()), run(ref.NewNarrow()), "%s, adapter %v", name, adapted)
		}
	}
}
