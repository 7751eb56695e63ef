package algo

import "math"

// sapo gates the ratio softly (SAPO, arXiv 2511.20347):
//
//	l = -A 4/tau sigmoid(tau (r - 1)), tau = TauPos where A > 0, else TauNeg
//	dl/dlogp = -A 4 g (1 - g) r, g the sigmoid
func (p Policy) sapo(a, diff float64) token {
	tau := p.TauNeg
	if a > 0 {
		tau = p.TauPos
	}
	r := math.Exp(clamp(diff, -diffLimit, diffLimit))
	g := 1 / (1 + math.Exp(-tau*(r-1)))
	t := token{loss: -a * 4 / tau * g}
	if math.Abs(diff) <= diffLimit {
		t.grad = -a * 4 * g * (1 - g) * r
	}
	return t
}
