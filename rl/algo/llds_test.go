package algo_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/rl/algo"
)

// LLDS of arXiv 2512.04220v2, equation 4, computed by hand. Row 0 has a positive advantage and two actions: in the
// first the log-probs change by -0.5 and +0.2, so that it fell by 0.3 and its token that fell counts with 0.5; in the
// second by -0.1 and +0.4, so that it rose and counts nothing. Row 1 has advantages of 0, one action, and fell by 0.3 +
// 0.1. Row 2 fell most, and its advantage is negative. The token that is masked out counts nowhere.
func TestLLDS(t *testing.T) {
	mask := [][]bool{{true, true, false, true, true}, {true, true}, {true}}
	old := [][]float64{{-1, -2, 0, -1, -1}, {-1, -1}, {-1}}
	now := [][]float64{{-1.5, -1.8, -9, -1.1, -0.6}, {-1.3, -1.1}, {-3}}
	adv := [][]float64{{1, 1, 0, 1, 1}, {0, 0}, {-1}}
	action := [][]int{{0, 0, 0, 1, 1}, {0, 0}, {0}}
	p, err := algo.Policy{Surrogate: algo.Reinforce, LLDSCoef: 0.2}.Validate()
	require.NoError(t, err)
	var c algo.Counts
	for i := range mask {
		c.Add(mask[i])
		c.AddPreserved(adv[i], mask[i])
	}
	require.Equal(t, 2, c.Preserved)
	loss := func(p algo.Policy, now [][]float64) (sum algo.Terms, grad [][]float64) {
		grad = like(now)
		for i := range mask {
			sum.Add(p.Loss(algo.Row{Mask: mask[i], Old: old[i], New: now[i], Advantage: adv[i], Action: action[i],
				DLogp: grad[i]}, c))
		}
		return sum, grad
	}
	with, grad := loss(p, now)
	require.InDelta(t, 0.5*(0.5/4+(0.3+0.1)/2), with.LLDS, 1e-12)
	p.LLDSCoef = 0
	plain, before := loss(p, now)
	require.Zero(t, plain.LLDS)
	require.InDelta(t, plain.Loss+0.2*with.LLDS, with.Loss, 1e-12)
	require.InDelta(t, before[0][0]-0.2*0.5/4, grad[0][0], 1e-12)
	for _, same := range [][2]int{{0, 1}, {0, 2}, {0, 3}, {0, 4}, {2, 0}} {
		require.Equal(t, before[same[0]][same[1]], grad[same[0]][same[1]], "row %d token %d", same[0], same[1])
	}

	p.LLDSCoef = 0.2
	for i := range now {
		for k := range now[i] {
			const h = 1e-6
			there := now[i][k]
			now[i][k] = there + h
			up, _ := loss(p, now)
			now[i][k] = there - h
			down, _ := loss(p, now)
			now[i][k] = there
			require.InDelta(t, (up.Loss-down.Loss)/(2*h), grad[i][k], 1e-8, "row %d token %d", i, k)
		}
	}

	same, _ := loss(p, old)
	require.Zero(t, same.LLDS, "in the first optimizer step of an update nothing fell")
	require.False(t, math.Signbit(same.LLDS))
}
