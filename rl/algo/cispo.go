package algo

import "math"

// cispo keeps every token's gradient and clips its weight (CISPO, MiniMax-M1, arXiv 2506.13585):
//
//	l = -stop(clip(r, 1-low, 1+high)) A logp, dl/dlogp = -clip(r) A
//
// The value depends on logp itself and says nothing on its own. ClipLow >= 1 means no lower bound.
func (p Policy) cispo(a, logp, diff float64) token {
	r := math.Exp(clamp(diff, -diffLimit, diffLimit))
	c := clamp(r, 1-p.ClipLow, 1+p.ClipHigh)
	return token{loss: -c * a * logp, grad: -c * a, clipped: c != r}
}
