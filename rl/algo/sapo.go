package algo

import "math"

// Temperatures of the gate for tokens of positive advantage and for the others, as the paper has them.
const sapoTauPos, sapoTauNeg = 1, 1.05

// sapo gates the ratio softly (SAPO, arXiv 2511.20347):
//
//	l = -A 4/tau sigmoid(tau (r - 1)), tau = sapoTauPos where A > 0, else sapoTauNeg
//	dl/dlogp = -A 4 g (1 - g) r, g the sigmoid
func sapo(a, diff float64) token {
	tau := sapoTauNeg
	if a > 0 {
		tau = sapoTauPos
	}
	r := math.Exp(clamp(diff, -diffLimit, diffLimit))
	g := 1 / (1 + math.Exp(-tau*(r-1)))
	t := token{loss: -a * 4 / tau * g}
	if math.Abs(diff) <= diffLimit {
		t.grad = -a * 4 * g * (1 - g) * r
	}
	return t
}
