package algo

import "math"

// clip is the clipped surrogate (PPO, arXiv 1707.06347, eq. 7), which GRPO (arXiv 2402.03300, eq. 3) shares:
//
//	l = max(-A r, -A clip(r, 1-low, 1+high)), r = exp(clamp(diff, -20, 20))
//	l = min(l, -A c) where A < 0 and dual clip is on (arXiv 1912.09729)
//
// low != high is DAPO's clip-higher (arXiv 2503.14476, eq. 10).
// dl/dlogp = -A r where the unclipped branch is taken, else 0.
func (p Policy) clip(a, diff float64) token {
	r := math.Exp(clamp(diff, -diffLimit, diffLimit))
	t := p.clipRatio(a, r, math.Abs(diff) <= diffLimit)
	if dual := -a * p.DualClip; p.DualClip > 0 && a < 0 && dual < t.loss {
		t.loss, t.grad, t.dual = dual, 0, true
	}
	return t
}

// clipRatio is the surrogate for a given ratio; live says that the ratio still depends on logp.
func (p Policy) clipRatio(a, r float64, live bool) token {
	t := token{loss: -a * r}
	if live {
		t.grad = t.loss
	}
	if bounded := -a * clamp(r, 1-p.ClipLow, 1+p.ClipHigh); bounded > t.loss {
		t = token{loss: bounded, clipped: true}
	}
	return t
}
