package algo

import "math"

// gspo clips one ratio a sequence (GSPO, arXiv 2507.18071, eq. 5 and 7):
//
//	s = exp(mean of diff over the policy tokens), l_t = max(-A_t s, -A_t clip(s, 1-low, 1+high))
//
// The gradient is GSPO-token's (eq. 13): dl_t/dlogp_t = -A_t s where unclipped; with one advantage a sequence and a
// mean over its tokens it equals the gradient through the mean. log s is bounded by 10 from above.
func (p Policy) gspo(a, meanDiff float64) token {
	return p.clipRatio(a, math.Exp(min(meanDiff, 10)), meanDiff <= 10)
}
