package verify

import (
	"math"
	"strconv"
	"strings"
)

// Relative tolerances for kernel paths that sum in a different order. Two log-probs may differ by LogprobTolerance
// times (1 + |log-prob|). Values of the update may differ by updateTolerance times (|value| + 0.2). A weight may differ
// by WeightSteps learning rates for each optimizer step, and by a rounding to bf16: if a gradient is nearly 0 its sign
// may differ, and AdamW moves the weight by about one learning rate in either direction.
const (
	LogprobTolerance = 0.02
	updateTolerance  = 0.05
	WeightSteps      = 4
)

// Near reports whether two numbers differ by at most tolerance times floor and the larger of them.
func Near(a, b, tolerance, floor float64) bool {
	return a == b || math.Abs(a-b) <= tolerance*(floor+max(math.Abs(a), math.Abs(b)))
}

// nearMetric compares metrics of two different kernel paths. Metrics of the update may differ within the tolerance; all
// others must be equal.
func nearMetric(name, a, b string) bool {
	if name == "rollout/logprob_diff_max" {
		return true // the log-probs themselves are compared instead
	}
	x, err := strconv.ParseFloat(a, 64)
	y, err2 := strconv.ParseFloat(b, 64)
	return err == nil && err2 == nil && (strings.HasPrefix(name, "actor/") || strings.HasPrefix(name, "critic/")) &&
		Near(x, y, updateTolerance, 0.2)
}

// isMoment reports whether a tensor is one of AdamW's moments. Moments are not compared between kernel paths: gradients
// near 0 may differ by more than their own size.
func isMoment(name string) bool {
	return strings.HasPrefix(name, "m.") || strings.HasPrefix(name, "v.")
}
