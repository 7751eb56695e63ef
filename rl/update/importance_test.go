package update

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/rl/config"
)

// Truncated importance sampling equals an update on what the trainer itself would have recorded, with each advantage
// multiplied by min(exp(trainer - recorded), 2); with several mini-batches too, whose weights have moved since.
func TestImportanceSampling(t *testing.T) {
	c := config.Algo{Algo: "grpo", DualClip: 3, KLCoef: 0.1}
	shift := func(i, k int) float64 { return []float64{0, 0.3, -0.4, 1.5}[(i+k)%4] }
	for name, miniBatches := range map[string][][]int{"one step": MiniBatches(8, 0), "three steps": MiniBatches(8, 3)} {
		u, m, trajs := updateRig(t, kernels.F32, c)
		rows, err := u.Prepare(trajs)
		require.NoError(t, err)
		var want Stats
		var sum, truncated, n float64
		for i := range rows {
			for k := range rows[i].Advantage {
				w := min(math.Exp(shift(i, k)), 2)
				rows[i].Advantage[k] *= w
				sum, n = sum+w, n+1
				if w == 2 {
					truncated++
				}
			}
		}
		for k, miniBatch := range miniBatches {
			require.NoError(t, u.OptimizerStep(&want, trajs, rows, miniBatch, k == 0, rate(0)))
		}

		v, corrected, recorded := updateRig(t, kernels.F32, c)
		for i := range recorded {
			k := 0
			for at, on := range recorded[i].Mask {
				if on {
					recorded[i].Old[at] -= float32(shift(i, k))
					k++
				}
			}
		}
		v.ImportanceCap = c.ImportanceCap()
		got, err := v.Update(recorded, miniBatches, rate)
		require.NoError(t, err)
		steps := float64(len(miniBatches))
		require.InDelta(t, want.PG/steps, got.PG, 1e-5, name)
		require.InEpsilon(t, want.GradNorm/steps, got.GradNorm, 1e-5, name)
		require.InDelta(t, want.Ratio/steps, got.Ratio, 1e-5, name)
		for i, x := range weightsOf(t, corrected) {
			require.InDeltaSlice(t, weightsOf(t, m)[i], x, 1e-4, name)
		}
		require.InDelta(t, sum/n, got.Importance.Mean, 1e-5, name)
		require.InDelta(t, truncated/n, got.Importance.Truncated, 1e-9, name)
		require.InDelta(t, 1.5, got.LogprobDiff, 1e-5, name)
		require.InDelta(t, sum/n, got.Metrics()["rollout_corr/rollout_is_mean"], 1e-5)

		off, _, recorded2 := updateRig(t, kernels.F32, c)
		for i := range recorded2 {
			copy(recorded2[i].Old, recorded[i].Old)
		}
		off.ImportanceCap = config.Algo{RolloutIS: config.RolloutISOff}.ImportanceCap()
		plain, err := off.Update(recorded2, miniBatches, rate)
		require.NoError(t, err)
		require.Nil(t, plain.Importance)
		require.Greater(t, math.Abs(plain.PG-got.PG), 1e-3, "without it the loss is another")
	}
}

// Where rollout and trainer agree, importance sampling changes no bit and has no metric.
func TestImportanceSamplingOfEqualLogprobs(t *testing.T) {
	run := func(limit float64) (Stats, [][]float32) {
		u, m, trajs := updateRig(t, kernels.BF16, config.Algo{Algo: "grpo"})
		u.ImportanceCap, u.Epochs = limit, 2
		st, err := u.Update(trajs, MiniBatches(8, 3), rate)
		require.NoError(t, err)
		return st, weightsOf(t, m)
	}
	with, a := run(2)
	without, b := run(0)
	require.Equal(t, b, a)
	require.Equal(t, without, with)
	require.Nil(t, with.Importance)
}
