package algo

import "math"

// KL names an estimate of KL(policy, reference) from one token's log-probs (Schulman 2020, "Approximating KL
// divergence").
type KL string

const (
	// K1 is logp - ref: unbiased, high variance. As a loss its gradient is 1 everywhere and knows nothing of the
	// reference: use it in the reward.
	K1 KL = "k1"
	// Abs is |logp - ref|.
	Abs KL = "abs"
	// K2 is (logp - ref)^2 / 2: its gradient is that of the KL divergence, on policy.
	K2 KL = "k2"
	// K3 is exp(ref - logp) - (ref - logp) - 1: unbiased, never negative, low variance (GRPO, arXiv 2402.03300, eq. 4).
	K3 KL = "k3"
)

// k3Limit bounds a token's k3 estimate; beyond it (logp - ref below about -2.6) the gradient is 0.
const k3Limit = 10

// At gives the estimate and its derivative by logp.
func (k KL) At(logp, ref float64) (value, grad float64) {
	diff := logp - ref
	switch k {
	case K1:
		return diff, 1
	case Abs:
		if diff == 0 {
			return 0, 0
		}
		return math.Abs(diff), math.Copysign(1, diff)
	case K2:
		return diff * diff / 2, diff
	case K3:
		x := clamp(-diff, -diffLimit, diffLimit)
		e := math.Exp(x)
		value = e - x - 1
		if value > k3Limit {
			return k3Limit, 0
		}
		return value, 1 - e // where x was bounded the value is beyond k3Limit
	}
	panic("algo: KL estimator " + string(k))
}

// InReward subtracts beta times the estimate from the rewards of the policy tokens, in place, and returns the row's
// mean estimate (0 for a row without policy tokens). PPO with a KL reward (arXiv 1909.08593, eq. 2).
func (k KL) InReward(beta float64, logp, ref []float64, mask []bool, rewards []float64) float64 {
	sameLen("kl in reward", len(mask), logp, ref, rewards)
	sum, n := 0.0, 0
	for t, on := range mask {
		if on {
			v, _ := k.At(logp[t], ref[t])
			rewards[t] -= beta * v
			sum += v
			n++
		}
	}
	return sum / float64(max(n, 1))
}

// AdaptiveKL moves a KL coefficient towards a target divergence (arXiv 1909.08593, section 2.2):
//
//	beta *= 1 + clip(kl/Target - 1, -0.2, 0.2) n/Horizon
type AdaptiveKL struct {
	// Beta is the coefficient in force, Target the KL aimed at, Horizon the steps over which a full correction
	// is spread.
	Beta, Target, Horizon float64
}

// Update adjusts Beta after n steps (verl: trajectories) with mean divergence kl.
func (a *AdaptiveKL) Update(kl float64, n int) {
	a.Beta *= 1 + clamp(kl/a.Target-1, -0.2, 0.2)*float64(n)/a.Horizon
}
