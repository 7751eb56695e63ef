package ref

import (
	"math"

	"github.com/zerosearch-go/zerosearch/kernels"
)

// RMSNorm: y = x * rstd * w, rstd = 1/sqrt(mean(x^2) + eps) (arXiv 1910.07467). rstd is rounded to F32 before it is used, so that
// the backward sees the same number.
func (d *device) RMSNorm(yt, xt, wt kernels.Tensor, eps float32, rt kernels.Tensor) {
	c := d.begin("RMSNorm")
	defer c.end()
	x := c.f32("x", xt, -1, -1)
	y := c.f32("y", yt, x.rows, x.cols)
	w := c.vector("w", wt, 1, x.cols, false)
	rstd := c.vector("rstd", rt, x.rows, 1, true)
	c.apart("y", yt, xt, wt, rt)
	c.apart("rstd", rt, xt, wt)
	for t := range x.rows {
		var sum float64
		for _, v := range x.row(t) {
			sum += float64(v) * float64(v)
		}
		r := float32(1 / math.Sqrt(sum/float64(x.cols)+float64(eps)))
		for i, v := range x.row(t) {
			y.row(t)[i] = float32(float64(v) * float64(r) * float64(w[i]))
		}
		if rstd != nil {
			rstd[t] = r
		}
	}
}

// RMSNormBackward: dx = rstd*(w*dy - x*rstd^2*mean(w*dy*x)), dw += sum_t dy*x*rstd.
func (d *device) RMSNormBackward(dxt, dwt, dyt, xt, wt, rt kernels.Tensor, add bool) {
	c := d.begin("RMSNormBackward")
	defer c.end()
	x := c.f32("x", xt, -1, -1)
	dy := c.f32("dy", dyt, x.rows, x.cols)
	dx := c.f32("dx", dxt, x.rows, x.cols)
	w := c.vector("w", wt, 1, x.cols, false)
	dw := c.vector("dw", dwt, 1, x.cols, true)
	rstd := c.vector("rstd", rt, x.rows, 1, false)
	c.apart("dx", dxt, dyt, xt, wt, rt)
	c.apart("dw", dwt, dxt, dyt, xt, wt, rt)
	for t := range x.rows {
		r := float64(rstd[t])
		var mean float64
		for i, v := range x.row(t) {
			mean += float64(w[i]) * float64(dy.row(t)[i]) * float64(v) / float64(x.cols)
		}
		for i, v := range x.row(t) {
			g := r * (float64(w[i])*float64(dy.row(t)[i]) - float64(v)*r*r*mean)
			if add {
				g += float64(dx.row(t)[i])
			}
			dx.row(t)[i] = float32(g)
		}
	}
	addColumns(dw, x.rows, func(t, i int) float64 {
		return float64(dy.row(t)[i]) * float64(x.row(t)[i]) * float64(rstd[t])
	})
}
