package ref

import (
	"math"

	"github.com/zerosearch-go/zerosearch/kernels"
)

// AdamW does the step that kernels.AdamWStep defines. Its scalars are computed in float64 and rounded to F32 once; an
// element is computed in float64 from its F32 state.
func (d *device) AdamW(pt, gt, mt, vt kernels.Tensor, s kernels.AdamWStep) {
	c := d.begin("AdamW")
	defer c.end()
	for _, t := range []kernels.Tensor{pt, gt, mt, vt} {
		if !t.Dense() {
			c.fail("%v is not dense", t)
		}
	}
	p := c.f32("p", pt, -1, -1)
	g := c.f32("g", gt, p.rows, p.cols)
	m := c.f32("m", mt, p.rows, p.cols)
	v := c.f32("v", vt, p.rows, p.cols)
	c.apart("p", pt, gt, mt, vt)
	c.apart("m", mt, gt, vt)
	c.apart("v", vt, gt)
	if s.Step < 1 {
		c.fail("step %d: steps count from 1", s.Step)
	}
	once := func(x float64) float64 { return float64(float32(x)) }
	keep := once(1 - s.LR*s.WeightDecay)
	b1, b1c := once(s.Beta1), once(1-s.Beta1)
	b2, b2c := once(s.Beta2), once(1-s.Beta2)
	rate := once(s.LR / (1 - math.Pow(s.Beta1, float64(s.Step))))
	root := once(math.Sqrt(1 - math.Pow(s.Beta2, float64(s.Step))))
	eps := once(s.Eps)
	for i := range p.data {
		gi := float64(s.GradScale) * float64(g.data[i])
		m.data[i] = float32(b1*float64(m.data[i]) + b1c*gi)
		v.data[i] = float32(b2*float64(v.data[i]) + b2c*gi*gi)
		update := rate * float64(m.data[i]) / (math.Sqrt(float64(v.data[i]))/root + eps)
		p.data[i] = float32(keep*float64(p.data[i]) - update)
	}
}
