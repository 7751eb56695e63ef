package verify

import (
	"math"
	"strconv"
	"strings"
)

// Tolerances between kernel paths that sum in another order, each of the size of what is compared. A log-prob may
// differ by so much of 1 + |log-prob|, what the update computes by so much of itself + 0.2, and a weight by
// WeightSteps learning rates an optimizer step, for AdamW moves a weight whose gradient is nearly 0 either way by
// about one, and by a rounding to bf16.
const (
	LogprobTolerance = 0.02
	updateTolerance  = 0.05
	WeightSteps      = 4
)

// Near reports whether two numbers differ by at most tolerance times floor and the larger of them.
func Near(a, b, tolerance, floor float64) bool {
	return a == b || math.Abs(a-b) <= tolerance*(floor+max(math.Abs(a), math.Abs(b)))
}

// nearMetric compares numbers that are not of the same kernel path. Those of the episodes themselves must be the same.
func nearMetric(name, a, b string) bool {
	if name == "rollout/logprob_diff_max" {
		return true // it is what log-probs are compared for
	}
	x, err := strconv.ParseFloat(a, 64)
	y, err2 := strconv.ParseFloat(b, 64)
	return err == nil && err2 == nil && (strings.HasPrefix(name, "actor/") || strings.HasPrefix(name, "critic/")) &&
		Near(x, y, updateTolerance, 0.2)
}

// moment reports whether a tensor is one of AdamW's moments: gradients Near 0 differ by more than themselves between
// kernel paths.
func moment(name string) bool { return strings.HasPrefix(name, "m.") || strings.HasPrefix(name, "v.") }
