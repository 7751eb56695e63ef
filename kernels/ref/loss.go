package ref

import (
	"math"

	"github.com/zerosearch-go/zerosearch/kernels"
)

// distribution is a softmax over the vocabulary: z = logits*invTemp (rounded to F32), p_v = exp(z_v - lse).
type distribution struct {
	z            []float32
	lse, entropy float64
}

// distribute sums over v ascending in float64. A logit of -Inf has no weight in the entropy.
func distribute(logits []float32, invTemp float32) distribution {
	d := distribution{z: make([]float32, len(logits))}
	most := math.Inf(-1)
	for v, x := range logits {
		d.z[v] = x * invTemp
		most = max(most, float64(d.z[v]))
	}
	var sum float64
	for _, z := range d.z {
		sum += math.Exp(float64(z) - most)
	}
	d.lse = most + math.Log(sum)
	for v := range d.z {
		if p := d.p(v); p != 0 {
			d.entropy -= p * d.lnP(v)
		}
	}
	return d
}

func (d distribution) lnP(v int) float64 { return float64(d.z[v]) - d.lse }
func (d distribution) p(v int) float64   { return math.Exp(d.lnP(v)) }

// scores are the vectors of a LogProbs; nil is none.
type scores struct{ logp, entropy, lse []float32 }

func (c call) scores(o kernels.LogProbs, rows int) scores {
	return scores{
		logp:    c.vector("logp", o.Logp, rows, 1, true),
		entropy: c.vector("entropy", o.Entropy, rows, 1, true),
		lse:     c.vector("lse", o.LSE, rows, 1, true),
	}
}

func (s scores) store(t int, d distribution, target int32) {
	if s.logp != nil {
		s.logp[t] = float32(d.lnP(int(target)))
	}
	if s.entropy != nil {
		s.entropy[t] = float32(d.entropy)
	}
	if s.lse != nil {
		s.lse[t] = float32(d.lse)
	}
}

// LogProb: logits = h w^T as MatMul's, then Logp, Entropy and LSE of their distribution.
func (d *device) LogProb(out kernels.LogProbs, ht kernels.Tensor, wt kernels.Weight, tt kernels.Tensor,
	invTemp float32) {
	c := d.begin("LogProb")
	defer c.end()
	w := c.weight(wt)
	h := c.f32("h", ht, -1, w.k)
	targets := c.ints("targets", tt, h.rows, w.n)
	s := c.scores(out, h.rows)
	for _, o := range []kernels.Tensor{out.Logp, out.Entropy, out.LSE} {
		c.apart("an output", o, ht, tt)
	}
	for t, target := range targets {
		s.store(t, distribute(w.product(h.row(t)), invTemp), target)
	}
}

// LogProbBackward: dz_v = invTemp * (dlogp*([v=target] - p_v) - dentropy*p_v*(ln p_v + entropy)), then dh = dz w, dw +=
// dz^T h.
func (d *device) LogProbBackward(dht, dwt, ht kernels.Tensor, wt kernels.Weight, tt kernels.Tensor, lp kernels.LogProbs,
	dlt, det kernels.Tensor, invTemp float32) {
	c := d.begin("LogProbBackward")
	defer c.end()
	w := c.weight(wt)
	h := c.f32("h", ht, -1, w.k)
	dh := c.f32("dh", dht, h.rows, w.k)
	targets := c.ints("targets", tt, h.rows, w.n)
	dlogp := c.vector("dlogp", dlt, h.rows, 1, false)
	dentropy := c.vector("dentropy", det, h.rows, 1, true)
	lse := c.vector("LSE", lp.LSE, h.rows, 1, false)
	entropy := c.vector("Entropy", lp.Entropy, h.rows, 1, dentropy == nil)
	c.apart("dh", dht, ht, tt, dlt, det, lp.LSE, lp.Entropy, dwt)
	c.apart("dw", dwt, ht, tt, dlt, det, lp.LSE, lp.Entropy)
	dz := mat[float32]{data: make([]float32, h.rows*w.n), rows: h.rows, cols: w.n, stride: w.n}
	for t, target := range targets {
		for v, x := range w.product(h.row(t)) {
			lnP := float64(x*invTemp) - float64(lse[t])
			p := math.Exp(lnP)
			g := -float64(dlogp[t]) * p
			if v == int(target) {
				g += float64(dlogp[t])
			}
			if dentropy != nil && p != 0 {
				g -= float64(dentropy[t]) * p * (lnP + float64(entropy[t]))
			}
			dz.row(t)[v] = float32(float64(invTemp) * g)
		}
		copy(dh.row(t), w.backProduct(dz.row(t)))
	}
	if !dwt.IsZero() {
		op := w.t
		if op.Quantised() {
			op = kernels.F32
		}
		d.addOuter(op, c.f32("dw", dwt, w.n, w.k), dz, h)
	}
}
