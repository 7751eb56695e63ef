package algo_test

// An equation a test: small numbers worked out by hand from the papers, and the properties the papers claim.

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/zerosearch-go/zerosearch/rl/algo"
	"pgregory.net/rapid"
)

func one(p algo.Policy, a, diff float64) (loss, grad float64, terms algo.Terms) {
	d := []float64{0}
	terms = p.Loss(algo.Row{Mask: []bool{true}, New: []float64{-1 + diff}, Old: []float64{-1}, Advantage: []float64{a},
		DLogp: d}, algo.Counts{Tokens: 1, Sequences: 1, Norm: 1})
	return terms.PG, d[0], terms
}

// PPO, arXiv 1707.06347, eq. 7 and figure 1: the loss stops falling once the ratio has left the clip range on the
// good side, and only there.
func TestPPOEquation7(t *testing.T) {
	p := valid(t, algo.Policy{ClipLow: 0.2, ClipHigh: 0.2})
	for _, c := range []struct{ a, r, loss, grad float64 }{
		{1, 1.1, -1.1, -1.1}, {1, 1.5, -1.2, 0}, {1, 0.5, -0.5, -0.5},
		{-1, 0.9, 0.9, 0.9}, {-1, 0.5, 0.8, 0}, {-1, 1.5, 1.5, 1.5},
	} {
		loss, grad, _ := one(p, c.a, math.Log(c.r))
		require.InDelta(t, c.loss, loss, 1e-12, "%+v", c)
		require.InDelta(t, c.grad, grad, 1e-12, "%+v", c)
	}
}

// Dual clip, arXiv 1912.09729: with a negative advantage the loss never exceeds -A c.
func TestDualClip(t *testing.T) {
	p := valid(t, algo.Policy{ClipLow: 0.2, ClipHigh: 0.2, DualClip: 3})
	loss, grad, terms := one(p, -2, math.Log(10))
	require.InDelta(t, 6, loss, 1e-12)
	require.Zero(t, grad)
	require.Equal(t, 1.0, terms.ClipFracLower)
	loss, grad, terms = one(p, 2, math.Log(10))
	require.InDelta(t, -2.4, loss, 1e-12)
	require.Zero(t, grad)
	require.Zero(t, terms.ClipFracLower)
}

// DAPO, arXiv 2503.14476, eq. 10: the upper bound alone is raised.
func TestClipHigher(t *testing.T) {
	p := valid(t, algo.Policy{ClipLow: 0.2, ClipHigh: 0.28})
	loss, grad, _ := one(p, 1, math.Log(1.25))
	require.InDelta(t, -1.25, loss, 1e-12)
	require.InDelta(t, -1.25, grad, 1e-12)
	loss, _, _ = one(p, 1, math.Log(1.3))
	require.InDelta(t, -1.28, loss, 1e-12)
	loss, _, _ = one(p, -1, math.Log(0.75))
	require.InDelta(t, 0.8, loss, 1e-12)
}

// GSPO, arXiv 2507.18071, eq. 7: the ratio of a sequence is the geometric mean of its tokens' ratios.
func TestGSPOEquation7(t *testing.T) {
	p := valid(t, algo.Policy{Surrogate: algo.GSPO, ClipLow: 0.2, ClipHigh: 0.2})
	d := make([]float64, 3)
	got := p.Loss(algo.Row{Mask: []bool{true, false, true}, Old: []float64{-1, -9, -2},
		New: []float64{-1 + math.Log(1.21), -1, -2}, Advantage: []float64{2, 2, 2}, DLogp: d},
		algo.Counts{Tokens: 2, Sequences: 1})
	require.InDelta(t, -2*1.1, got.Loss, 1e-12)
	require.InDeltaSlice(t, []float64{-1.1, 0, -1.1}, d, 1e-12)
}

// log s is bounded by 10 from above, and there the gradient ends; ratios far below 1 are left alone.
func TestGSPOBound(t *testing.T) {
	p := valid(t, algo.Policy{Surrogate: algo.GSPO, ClipLow: 0.2, ClipHigh: 0.2})
	loss, grad, _ := one(p, -1, 12)
	require.InDelta(t, math.Exp(10), loss, 1e-6)
	require.Zero(t, grad)
	loss, grad, _ = one(p, 1, -30)
	require.InDelta(t, -math.Exp(-30), loss, 1e-25)
	require.InDelta(t, -math.Exp(-30), grad, 1e-25)
}

// Ziegler et al., arXiv 1909.08593, section 2.2: the controller's error is cut at a fifth to either side.
func TestAdaptiveKLIsCut(t *testing.T) {
	for kl, want := range map[float64]float64{0.05: 1, 0.055: 1.01, 1: 1.02, 0.001: 0.98} {
		a := algo.AdaptiveKL{Beta: 1, Target: 0.05, Horizon: 100}
		a.Update(kl, 10)
		require.InDelta(t, want, a.Beta, 1e-12, kl)
	}
}

// CISPO, arXiv 2506.13585: a clipped token keeps a gradient.
func TestCISPOKeepsGradient(t *testing.T) {
	p := valid(t, algo.Policy{Surrogate: algo.CISPO, ClipLow: 10, ClipHigh: 0.2})
	_, grad, terms := one(p, 1, math.Log(2))
	require.InDelta(t, -1.2, grad, 1e-12)
	require.Equal(t, 1.0, terms.ClipFrac)
	_, grad, _ = one(p, 1, math.Log(0.01))
	require.InDelta(t, -0.01, grad, 1e-12)
}

// SAPO, arXiv 2511.20347: on policy the gradient is the policy gradient's, away from it smaller, and never zero.
func TestSAPOOnPolicy(t *testing.T) {
	p := valid(t, algo.Policy{Surrogate: algo.SAPO})
	for _, a := range []float64{1.5, -1.5} {
		_, grad, _ := one(p, a, 0)
		require.InDelta(t, -a, grad, 1e-12)
	}
	_, far, _ := one(p, 1, math.Log(3))
	require.True(t, far < 0 && far > -3*0.5)
}

// On policy (ratio 1) every surrogate has the policy gradient -A (Williams 1992).
func TestOnPolicyAllAgree(t *testing.T) {
	for _, s := range []algo.Surrogate{algo.Clip, algo.GSPO, algo.CISPO, algo.SAPO, algo.Reinforce} {
		p := valid(t, algo.Policy{Surrogate: s, ClipLow: 0.2, ClipHigh: 0.28, DualClip: 3})
		_, grad, _ := one(p, -0.75, 0)
		require.InDelta(t, 0.75, grad, 1e-12, s)
	}
}

// GRPO, arXiv 2402.03300, section 4.1.2.
func TestGRPOAdvantage(t *testing.T) {
	a := algo.GRPO([]float64{1, 0, 0, 1}, []int{0, 0, 0, 0}, 0)
	s := 0.5 / math.Sqrt(1.0/3)
	require.InDeltaSlice(t, []float64{s, -s, -s, s}, a, 1e-15)
	require.Equal(t, []float64{0, 0, 0, 0, 0}, algo.GRPO([]float64{2.0 / 3, 2.0 / 3, 2.0 / 3, 2.0 / 3, 2.0 / 3},
		make([]int, 5), 1e-6), "no signal, exactly")
}

// Dr. GRPO, arXiv 2503.20783, section 3.2: no division by the deviation, none by the length.
func TestDrGRPO(t *testing.T) {
	e, err := algo.Estimator{Name: algo.EstDrGRPO}.Validate()
	require.NoError(t, err)
	adv, _ := e.Compute([]algo.Trajectory{{Reward: 1, Mask: []bool{true}},
		{Reward: 0, Mask: []bool{true, false, true}}})
	require.Equal(t, [][]float64{{0.5}, {-0.5, 0, -0.5}}, adv)
	p := valid(t, algo.Policy{ClipLow: 0.2, ClipHigh: 0.2, Aggregation: algo.SeqMeanTokenSumLimit})
	d := make([]float64, 3)
	z := make([]float64, 3)
	p.Loss(algo.Row{Mask: []bool{true, false, true}, New: z, Old: z, Advantage: adv[1], DLogp: d},
		algo.Counts{Tokens: 3,
			Sequences: 2, Norm: 500})
	require.InDeltaSlice(t, []float64{0.0005, 0, 0.0005}, d, 1e-15)
}

// The loss of Dr. GRPO as published, by numpy: -np.mean([np.sum(np.minimum(r*a, np.clip(r, .8, 1.2)*a))/10 for r, a
// in ...]) over ratios [1.1, 0.7, 1.0], [1.5], [0.9, 1.3] with advantages 0.5, -0.25, 1. verl's form is three times
// as much, and grows with the batch; the published one is the same for the batch taken twice.
func TestDrGRPOIsAMean(t *testing.T) {
	ratios, advantages := [][]float64{{1.1, 0.7, 1.0}, {1.5}, {0.9, 1.3}}, []float64{0.5, -0.25, 1}
	loss := func(agg algo.Aggregation, times int) (sum float64, first []float64) {
		p := valid(t, algo.Policy{ClipLow: 0.2, ClipHigh: 0.2, Aggregation: agg})
		c := algo.Counts{Tokens: 6 * times, Sequences: 3 * times, Norm: 10}
		for range times {
			for i, rs := range ratios {
				n := len(rs)
				row := algo.Row{Mask: make([]bool, n), New: make([]float64, n), Old: make([]float64, n),
					Advantage: make([]float64, n), DLogp: make([]float64, n)}
				for k, r := range rs {
					row.Mask[k], row.New[k], row.Advantage[k] = true, math.Log(r), advantages[i]
				}
				sum += p.Loss(row, c).Loss
				if i == 0 {
					first = row.DLogp
				}
			}
		}
		return sum, first
	}
	once, grad := loss(algo.SeqMeanTokenSumLimit, 1)
	require.InDelta(t, -0.10416666666666667, once, 1e-15)
	require.InDeltaSlice(t, []float64{-0.5 * 1.1 / 30, -0.5 * 0.7 / 30, -0.5 / 30}, grad, 1e-15)
	twice, half := loss(algo.SeqMeanTokenSumLimit, 2)
	require.InDelta(t, once, twice, 1e-15)
	require.InDeltaSlice(t, []float64{-0.5 * 1.1 / 60, -0.5 * 0.7 / 60, -0.5 / 60}, half, 1e-15)
	verl, _ := loss(algo.SeqMeanTokenSumNorm, 1)
	require.InDelta(t, 3*once, verl, 1e-15)
	verl, _ = loss(algo.SeqMeanTokenSumNorm, 2)
	require.InDelta(t, 6*once, verl, 1e-15)
}

// RLOO, arXiv 2402.14740: each reward minus the mean of the others.
func TestRLOOLeavesOneOut(t *testing.T) {
	require.InDeltaSlice(t, []float64{1 - 1.5, 0 - 2, 3 - 0.5, 7}, algo.RLOO([]float64{1, 0, 3, 7}, []int{0, 0, 0, 1}),
		1e-12)
}

// OPO, arXiv 2505.23585: the baseline weighs rewards by length.
func TestOPO(t *testing.T) {
	require.InDeltaSlice(t, []float64{0.75, -0.25}, algo.OPO([]float64{1, 0}, []int{1, 3}, []int{0, 0}), 1e-15)
}

// GPG, arXiv 2504.02546.
func TestGPG(t *testing.T) {
	require.InDeltaSlice(t, []float64{2, -2, 0, 0}, algo.GPG([]float64{1, 0, 0, 0}, []int{0, 0, 1, 1}), 1e-15)
}

// GAE, arXiv 1506.02438, eq. 16, and its two special cases (17), (18): lambda 0 is the TD error, lambda 1 the return
// minus the value.
func TestGAEEquations16to18(t *testing.T) {
	r, v, mask := []float64{0.5, 100, 0.25, 1}, []float64{0.1, 200, 0.2, 0.3}, []bool{true, false, true, true}
	a, _ := algo.GAE(r, v, mask, 0.9, 0)
	require.InDeltaSlice(t, []float64{0.5 + 0.9*0.2 - 0.1, 0, 0.25 + 0.9*0.3 - 0.2, 1 - 0.3}, a, 1e-15)
	a, ret := algo.GAE(r, v, mask, 0.9, 1)
	g := algo.Returns(r, mask, 0.9)
	require.InDeltaSlice(t, []float64{0.5 + 0.9*(0.25+0.9), 0, 0.25 + 0.9, 1}, g, 1e-15)
	require.InDeltaSlice(t, []float64{g[0] - 0.1, 0, g[2] - 0.2, g[3] - 0.3}, a, 1e-12)
	require.InDeltaSlice(t, g, ret, 1e-12)
}

// REINFORCE++, arXiv 2501.03262: advantages are normalised over the batch, and a return reaches the turns before an
// observation.
func TestReinforcePP(t *testing.T) {
	e, err := algo.Estimator{Name: algo.EstReinforcePP}.Validate()
	require.NoError(t, err)
	adv, ret := e.Compute([]algo.Trajectory{{Reward: 1, Mask: []bool{true, false, true}}, {Reward: 0, Mask: []bool{true,
		true, false}}})
	require.Nil(t, ret)
	s := 0.5 / math.Sqrt(1.0/3+1e-8)
	require.InDeltaSlice(t, []float64{s, 0, s}, adv[0], 1e-12)
	require.InDeltaSlice(t, []float64{-s, -s, 0}, adv[1], 1e-12)
}

// REINFORCE with an outcome reward and gamma 1 gives every policy token the reward.
func TestReinforceAdvantage(t *testing.T) {
	e, err := algo.Estimator{Name: algo.EstReinforce}.Validate()
	require.NoError(t, err)
	adv, _ := e.Compute([]algo.Trajectory{{Reward: 0.75, Mask: []bool{true, false, true, false}}})
	require.Equal(t, [][]float64{{0.75, 0, 0.75, 0}}, adv)
}

// Schulman 2020: on samples from the policy k1 and k3 average to KL(policy, reference); k3 and k2 are never negative.
func TestKLEstimatorsAreUnbiased(t *testing.T) {
	p, q := []float64{0.5, 0.3, 0.2}, []float64{0.4, 0.4, 0.2}
	var kl, k1, k3 float64
	for i := range p {
		lp, lq := math.Log(p[i]), math.Log(q[i])
		kl += p[i] * (lp - lq)
		a, _ := algo.K1.At(lp, lq)
		b, _ := algo.K3.At(lp, lq)
		c, _ := algo.K2.At(lp, lq)
		require.True(t, b >= 0 && c >= 0)
		k1, k3 = k1+p[i]*a, k3+p[i]*b
	}
	require.InDelta(t, kl, k1, 1e-15)
	require.InDelta(t, kl, k3, 1e-15)
}

// The KL term is added, so that its gradient pushes the policy towards the reference; the entropy term is subtracted.
func TestSigns(t *testing.T) {
	p := valid(t, algo.Policy{ClipLow: 0.2, ClipHigh: 0.2, KLCoef: 0.1, EntropyCoef: 0.01})
	d, e := make([]float64, 2), make([]float64, 2)
	on, lp := []bool{true, true}, []float64{-1, -1}
	got := p.Loss(algo.Row{Mask: on, New: lp, Old: lp, Ref: []float64{-0.5, -2}, Advantage: []float64{0, 0},
		Entropy: []float64{1, 3}, DLogp: d, DEntropy: e}, algo.Counts{Tokens: 2, Sequences: 1})
	require.Negative(t, d[0], "descent raises a log-prob below the reference's")
	require.Positive(t, d[1], "and lowers one above it")
	require.Equal(t, []float64{-0.005, -0.005}, e)
	require.InDelta(t, got.PG+0.1*got.KL-0.01*2, got.Loss, 1e-15)
}

// Every gradient against central differences, away from kinks.
func TestGradientsByDifferences(t *testing.T) {
	f := rapid.Float64Range(-0.6, 0.6)
	rapid.Check(t, func(rt *rapid.T) {
		const n = 4
		draw := func(name string, shift float64) []float64 {
			out := make([]float64, n)
			for i := range out {
				out[i] = shift + f.Draw(rt, name)
			}
			return out
		}
		p, err := algo.Policy{
			Surrogate: rapid.SampledFrom([]algo.Surrogate{algo.Clip, algo.SAPO, algo.Reinforce}).Draw(rt, "surrogate"),
			Aggregation: rapid.SampledFrom([]algo.Aggregation{algo.TokenMean, algo.SeqMeanTokenMean,
				algo.SeqMeanTokenSum,
				algo.SeqMeanTokenSumNorm, algo.SeqMeanTokenSumLimit}).Draw(rt, "agg"),
			KL:      rapid.SampledFrom([]algo.KL{algo.K1, algo.K2, algo.K3}).Draw(rt, "kl"),
			ClipLow: 0.2, ClipHigh: 0.28, DualClip: 3, KLCoef: 0.3, EntropyCoef: 0.1,
		}.Validate()
		require.NoError(rt, err)
		row := algo.Row{Mask: []bool{true, false, true, true}, New: draw("new", -1), Old: draw("old", -1),
			Ref: draw("ref",
				-1), Advantage: draw("adv", 0),
			Entropy: draw("entropy", 2), Weight: draw("weight", 1), DLogp: make([]float64, n),
			DEntropy: make([]float64, n)}
		c := algo.Counts{Tokens: 7, Sequences: 2, Norm: 9}
		p.Loss(row, c)
		grad := append([]float64(nil), row.DLogp...)
		for i := range row.New {
			for _, kink := range []float64{0.8, 1.28} {
				if math.Abs(math.Exp(row.New[i]-row.Old[i])-kink) < 1e-4 {
					rt.Skip("at a kink")
				}
			}
			const h = 1e-6
			x := row.New[i]
			row.New[i] = x + h
			up := p.Loss(row, c).Loss
			row.New[i] = x - h
			down := p.Loss(row, c).Loss
			row.New[i] = x
			require.InDelta(rt, (up-down)/(2*h), grad[i], 1e-7)
			require.Equal(rt, map[bool]bool{true: row.DEntropy[i] < 0, false: row.DEntropy[i] == 0}[row.Mask[i]], true)
		}
	})
}

// Whitening: mean 0, variance 1 over the policy tokens.
func TestWhiten(t *testing.T) {
	x, m := [][]float64{{1, 50, 2}, {4}}, [][]bool{{true, false, true}, {true}}
	algo.Whiten(x, m)
	require.Zero(t, x[0][1])
	require.InDelta(t, 0, x[0][0]+x[0][2]+x[1][0], 1e-12)
	require.InDelta(t, 2, x[0][0]*x[0][0]+x[0][2]*x[0][2]+x[1][0]*x[1][0], 1e-7)
	x, m = [][]float64{{3}, {5}}, [][]bool{{true}, {false}}
	algo.Whiten(x, m)
	require.Equal(t, [][]float64{{0}, {0}}, x)
	algo.Whiten(nil, nil)
}
