package cpu

import (
	"fmt"
	"math"

	"github.com/zerosearch-go/zerosearch/kernels"
)

// adamwScalars are the scalars of a step, rounded to F32 once.
type adamwScalars struct {
	keep           float32 // 1 - LR*WeightDecay
	b1, b1c        float32 // Beta1, 1-Beta1
	b2, b2c        float32
	rate           float32 // LR / (1 - Beta1^t)
	root           float32 // sqrt(1 - Beta2^t)
	eps, gradScale float32
}

// newAdamW checks the operands of a step and gives its scalars.
func newAdamW(p, g, m, v kernels.Tensor, s kernels.AdamWStep) *adamwScalars {
	for i, t := range []kernels.Tensor{p, g, m, v} {
		shape("AdamW", []string{"p", "g", "m", "v"}[i], t, p.Rows, p.Cols)
		if !t.Dense() {
			panic(fmt.Sprintf("cpu: AdamW: %v is not dense", t))
		}
	}
	if s.Step < 1 {
		panic(fmt.Sprintf("cpu: AdamW: step %d: steps count from 1", s.Step))
	}
	return &adamwScalars{
		keep: float32(1 - float64(s.LR*s.WeightDecay)),
		b1:   float32(s.Beta1), b1c: float32(1 - s.Beta1), b2: float32(s.Beta2), b2c: float32(1 - s.Beta2),
		rate: float32(s.LR / (1 - math.Pow(s.Beta1, float64(s.Step)))),
		root: float32(math.Sqrt(1 - math.Pow(s.Beta2, float64(s.Step)))),
		eps:  float32(s.Eps), gradScale: s.GradScale,
	}
}

// AdamW does the step that kernels.AdamWStep defines.
func (d *Device) AdamW(p, g, m, v kernels.Tensor, s kernels.AdamWStep) {
	c := newAdamW(p, g, m, v, s)
	pp, gg, mm, vv, k := f32(p), f32(g), f32(m), f32(v), d.rows()
	d.forPieces(func(at []int, n int) {
		i := at[0]
		k.adamw(pp[i:][:n], gg[i:][:n], mm[i:][:n], vv[i:][:n], c)
	}, p, g, m, v)
}

// Update does AdamW, Pack and Zero for 16 rows of a panel at a time, so that the rows stay in the cache between the
// three.
func (d *Device) Update(kw kernels.Weight, p, g, m, v kernels.Tensor, s kernels.AdamWStep) {
	w, c := asWeight("Update", kw), newAdamW(p, g, m, v, s)
	shape("Update", "p", p, w.n, w.k)
	if w.k == 0 {
		return
	}
	pp, gg, mm, vv, k := f32(p), f32(g), f32(m), f32(v), d.rows()
	const rows = panelCols / 2
	d.pool.Run(w.panels(), func(panel int) {
		for lo := panel * panelCols; lo < min((panel+1)*panelCols, w.n); lo += rows {
			hi := min(lo+rows, w.n)
			i, n := lo*w.k, (hi-lo)*w.k
			k.adamw(pp[i:][:n], gg[i:][:n], mm[i:][:n], vv[i:][:n], c)
			clear(gg[i:][:n])
			d.packRows(w, panel, lo, hi, func(r int) rowSource { return floatRow(pp[r*w.k:][:w.k]) })
		}
	})
}

func adamwRow(p, g, m, v []float32, c *adamwScalars) {
	for i, x := range g {
		x *= c.gradScale
		m[i] = float32(c.b1*m[i]) + float32(c.b1c*x)
		v[i] = float32(c.b2*v[i]) + float32(c.b2c*x*x)
		p[i] = float32(c.keep*p[i]) - c.rate*m[i]/(float32(math.Sqrt(float64(v[i])))/c.root+c.eps)
	}
}
