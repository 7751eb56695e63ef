// Package algo holds the formulas of policy optimization as pure functions over slices: advantages, KL estimates,
// policy and value losses with their gradients with respect to the log-probs. It knows no model, no text and no
// device; arithmetic is float64.
//
// Conventions. T is the number of tokens of one trajectory, B the number of trajectories. mask[t] is true where the
// policy itself produced token t and is trained on it, false for observations, messages and padding. All losses are
// minimised: a positive advantage makes a token more likely. diff = logp_new - logp_old, ratio r = exp(diff).
// Gradients at places with mask false are exactly 0.
//
// A mini-batch is processed in two passes. First, over all trajectories at once: Estimator.Compute. Then, trajectory
// by trajectory and in any division into micro-batches: Policy.Loss, with the Counts of the whole mini-batch as
// divisors, so that terms and gradients simply add up to those of the whole (the mean of micro-batch means is
// another, wrong, number when lengths differ).
package algo

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// Aggregation says how per-token losses become one number. All five are sums of weight*loss over the policy tokens.
type Aggregation string

const (
	// TokenMean divides by the policy tokens of the batch: long answers count more (DAPO, arXiv 2503.14476, eq. 8).
	TokenMean Aggregation = "token-mean"
	// SeqMeanTokenMean is the mean over sequences of the mean over their tokens (GRPO, arXiv 2402.03300, eq. 3).
	SeqMeanTokenMean Aggregation = "seq-mean-token-mean"
	// SeqMeanTokenSum is the mean over sequences of the sum over their tokens.
	SeqMeanTokenSum Aggregation = "seq-mean-token-sum"
	// SeqMeanTokenSumNorm is the sum over all tokens divided by the constant Counts.Norm alone, so that no length bias
	// remains. It is verl's form of Dr. GRPO: with Norm the response limit it grows with the number of sequences.
	SeqMeanTokenSumNorm Aggregation = "seq-mean-token-sum-norm"
	// SeqMeanTokenSumLimit is the mean over sequences of the sum over their tokens divided by Counts.Norm, the response
	// limit: Dr. GRPO as published (arXiv 2503.20783, section 3.2; its code divides a sequence's sum by the generation
	// budget).
	SeqMeanTokenSumLimit Aggregation = "seq-mean-token-sum-limit"
)

// Counts are the divisors of a whole mini-batch, over all its micro-batches and ranks.
type Counts struct {
	// Tokens is the number of policy tokens.
	Tokens int
	// Sequences is the number of trajectories that have a policy token; empty ones do not count in a mean over
	// sequences.
	Sequences int
	// Preserved is the number of trajectories in the preserving set of LLDS; AddPreserved counts it.
	Preserved int
	// Norm is the constant of SeqMeanTokenSumNorm and SeqMeanTokenSumLimit; Add sets it to the longest row.
	Norm float64
}

// Add counts one trajectory.
func (c *Counts) Add(mask []bool) {
	n := 0
	for _, m := range mask {
		if m {
			n++
		}
	}
	c.Tokens += n
	if n > 0 {
		c.Sequences++
	}
	c.Norm = max(c.Norm, float64(len(mask)))
}

// weight is the factor of every policy token of a row with n of them.
func (a Aggregation) weight(n int, c Counts) float64 {
	var d float64
	switch a {
	case TokenMean:
		d = float64(c.Tokens)
	case SeqMeanTokenMean:
		d = float64(n) * float64(c.Sequences)
	case SeqMeanTokenSum:
		d = float64(c.Sequences)
	case SeqMeanTokenSumNorm:
		d = c.Norm
	case SeqMeanTokenSumLimit:
		d = float64(c.Sequences) * c.Norm
	default:
		panic(fmt.Sprintf("algo: aggregation %q", string(a)))
	}
	if d <= 0 {
		panic(fmt.Sprintf("algo: %s over a row with %d policy tokens, but the batch was counted as %+v", a, n, c))
	}
	return 1 / d
}

func oneOf[S ~string](what string, s S, all ...S) error {
	if slices.Contains(all, s) {
		return nil
	}
	names := make([]string, len(all))
	for i, a := range all {
		names[i] = string(a)
	}
	return fmt.Errorf("%s %q: unknown: use one of %s", what, string(s), strings.Join(names, ", "))
}

func sameLen(what string, n int, slices ...[]float64) {
	for i, s := range slices {
		if s != nil && len(s) != n {
			panic(fmt.Sprintf("algo: %s: slice %d has %d tokens, the mask %d", what, i, len(s), n))
		}
	}
}

func clamp(x, lo, hi float64) float64 { return math.Max(lo, math.Min(hi, x)) }
