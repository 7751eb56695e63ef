package algo

import "math"

// Correction weighs tokens for the difference between the sampler's probabilities and the trainer's own under the same weights
// (importance sampling; "Your efficient RL framework secretly brings you off-policy RL training", Yao et al. 2025):
//
//	d = logp_trainer - logp_sampler, w = exp(d) per token, or of the summed d per sequence
//
// Where both run one forward pass d is exactly 0 and no correction is needed.
type Correction struct {
	// Sequence uses one ratio a trajectory, the product of its tokens'.
	Sequence bool
	// Max bounds the weight from above, Min from below; 0 is no bound.
	Min, Max float64
	// Drop sets a weight outside the bounds to 0 instead of truncating it to the bound (masked importance sampling).
	Drop bool
}

// Weights writes the weights of one trajectory into out: 0 where the mask is false.
func (c Correction) Weights(trainer, sampler []float64, mask []bool, out []float64) {
	sameLen("correction", len(mask), trainer, sampler, out)
	sum := 0.0
	for t, on := range mask {
		if on {
			sum += trainer[t] - sampler[t]
		}
	}
	for t, on := range mask {
		out[t] = 0
		if !on {
			continue
		}
		d := trainer[t] - sampler[t]
		if c.Sequence {
			d = sum
		}
		out[t] = c.bound(math.Exp(clamp(d, -diffLimit, diffLimit)))
	}
}

func (c Correction) bound(w float64) float64 {
	low, high := w < c.Min, c.Max > 0 && w > c.Max
	switch {
	case !low && !high:
		return w
	case c.Drop:
		return 0
	case low:
		return c.Min
	}
	return c.Max
}

// NormalizeWeights divides the weights of a batch, in place, by their mean over the policy tokens; perSequence takes the mean over
// trajectories of one weight each.
func NormalizeWeights(w [][]float64, mask [][]bool, perSequence bool) {
	sum, n := 0.0, 0.0
	for i := range w {
		rowSum, rowN := 0.0, 0.0
		for t, on := range mask[i] {
			if on {
				rowSum += w[i][t]
				rowN++
			}
		}
		if perSequence && rowN > 0 {
			rowSum, rowN = rowSum/rowN, 1
		}
		sum, n = sum+rowSum, n+rowN
	}
	if sum <= 0 {
		return
	}
	for i := range w {
		for t := range w[i] {
			w[i][t] *= n / sum
		}
	}
}
