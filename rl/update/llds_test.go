package update

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/engine/train"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/rl/config"
)

// LLDS changes no bit of the first optimizer step. In the second its value is the formula's, over the log-probs under
// the weights that the first one left, turn by turn; and the preserved trajectories lose less likelihood.
func TestLLDS(t *testing.T) {
	const coef = 5
	run := func(coef float64, epochs int, rate float64) (Stats, [][]float32, []Trajectory, float64) {
		u, m, trajs := updateRig(t, kernels.F32, config.Algo{Algo: "grpo", LLDSCoef: coef})
		u.Epochs = epochs
		for i := range trajs {
			if trajs[i].Group == 1 {
				trajs[i].Reward = 0.5 // all equal: preserved, and moved by what the other group learns only
			}
			turns := make([]int, len(trajs[i].IDs))
			for k := range turns {
				turns[k] = max(0, k-trajs[i].Prompt) / 3
			}
			trajs[i].Turn = turns
		}
		st, err := u.Update(trajs, MiniBatches(len(trajs), 0), func(int) float64 { return rate })
		require.NoError(t, err)
		scorer, err := train.NewScorer(m.Device, m, nil, train.Options{KVType: kernels.F32})
		require.NoError(t, err)
		defer scorer.Close()
		preserved, sum := 0, 0.0
		for i, tj := range trajs {
			if st.Advantages[i][0] < 0 {
				continue
			}
			preserved++
			logp, _, err := scorer.Score([]train.Sequence{tj.sequence()})
			require.NoError(t, err)
			fell, part, n := map[int]float64{}, map[int]float64{}, 0.0
			for k, on := range tj.Mask {
				if !on {
					continue
				}
				d := float64(tj.Old[k]) - float64(logp[0][int(n)])
				fell[tj.Turn[k]] += d
				part[tj.Turn[k]] += math.Max(0, d)
				n++
			}
			for turn, f := range fell {
				if f > 0 {
					sum += part[turn] / n
				}
			}
		}
		return st, weightsOf(t, m), trajs, sum / float64(preserved)
	}
	_, plain, _, _ := run(0, 1, 0.02)
	once, first, _, want := run(coef, 1, 0.02)
	require.Equal(t, plain, first)
	require.Zero(t, once.LLDS)
	require.Positive(t, want, "the rig is one in which a likelihood falls")
	twice, _, _, left := run(coef, 2, 0.02)
	require.InEpsilon(t, want/2, twice.LLDS, 1e-4, "the mean over both steps, of which the first has none")
	require.InDelta(t, twice.PG+coef*twice.LLDS, twice.Loss, 1e-9)
	require.Equal(t, twice.LLDS, twice.Metrics()["actor/llds_loss"])
	_, _, _, without := run(0, 2, 0.02)
	require.Less(t, left, without)
	off, _, _, _ := run(0, 1, 0.02)
	require.NotContains(t, off.Metrics(), "actor/llds_loss")
}
