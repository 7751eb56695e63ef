package algo

import "math"

// TruncatedWeights writes the weights of truncated importance sampling into out, a value a token:
//
//	w = min(exp(logp_trainer - logp_sampler), limit)
//
// Both log-probs are of the same weights of the model; they differ where the sampler computes in another order of
// summation than the trainer does ("Your efficient RL framework secretly brings you off-policy RL training", Yao et al.
// 2025). Where the two are equal the weight is exactly 1.
func TruncatedWeights(trainer, sampler []float64, limit float64, out []float64) {
	sameLen("importance weights", len(out), trainer, sampler)
	for t := range out {
		out[t] = min(math.Exp(clamp(trainer[t]-sampler[t], -diffLimit, diffLimit)), limit)
	}
}
