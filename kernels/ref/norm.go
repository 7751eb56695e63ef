package ref

import (
	"math"

	"github.com/zerosearch-go/zerosearch/kernels"
)

// norms divides the rows of x and y into norms of the length of w.
type norms struct{ heads, n int }

func (c call) norms(x, w kernels.Tensor) norms {
	if w.Cols == 0 || x.Cols%w.Cols != 0 {
		if x.Cols == w.Cols {
			return norms{1, 0}
		}
		c.fail("x is %v, w is %v: its width is not a multiple of that", x, w)
	}
	return norms{x.Cols / w.Cols, w.Cols}
}

// of is norm i of m.
func (h norms) of(m mat[float32], i int) []float32 { return m.row(i / h.heads)[i%h.heads*h.n:][:h.n] }

// RMSNorm: y = x * rstd * w, rstd = 1/sqrt(mean(x^2) + eps) (arXiv 1910.07467). rstd is rounded to F32 before it is
// used, so that the backward sees the same number.
func (d *device) RMSNorm(yt, xt, wt kernels.Tensor, eps float32, rt kernels.Tensor) {
	c := d.begin("RMSNorm")
	defer c.end()
	h := c.norms(xt, wt)
	x := c.f32("x", xt, -1, -1)
	y, store := c.result("y", yt, x.rows, x.cols)
	defer store()
	w := c.vector("w", wt, 1, h.n, false)
	c.apart("y", yt, xt, wt, rt)
	c.apart("rstd", rt, xt, wt)
	rstd := mat[float32]{}
	if !rt.IsZero() {
		rstd = c.f32("rstd", rt, x.rows, h.heads)
	}
	for t := range x.rows * h.heads {
		from, to := h.of(x, t), h.of(y, t)
		var sum float64
		for _, v := range from {
			sum += float64(v) * float64(v)
		}
		r := float32(1 / math.Sqrt(sum/float64(h.n)+float64(eps)))
		for i, v := range from {
			to[i] = float32(float64(v) * float64(r) * float64(w[i]))
		}
		if !rt.IsZero() {
			rstd.row(t / h.heads)[t%h.heads] = r
		}
	}
}

// RMSNormBackward: dx = rstd*(w*dy - x*rstd^2*mean(w*dy*x)), dw += sum_t dy*x*rstd.
func (d *device) RMSNormBackward(dxt, dwt, dyt, xt, wt, rt kernels.Tensor, add bool) {
	c := d.begin("RMSNormBackward")
	defer c.end()
	h := c.norms(xt, wt)
	x := c.f32("x", xt, -1, -1)
	dy := c.f32("dy", dyt, x.rows, x.cols)
	dx := c.f32("dx", dxt, x.rows, x.cols)
	w := c.vector("w", wt, 1, h.n, false)
	dw := c.vector("dw", dwt, 1, h.n, true)
	rstd := c.f32("rstd", rt, x.rows, h.heads)
	c.apart("dx", dxt, dyt, xt, wt, rt)
	c.apart("dw", dwt, dxt, dyt, xt, wt, rt)
	scale := func(t int) float64 { return float64(rstd.row(t / h.heads)[t%h.heads]) }
	for t := range x.rows * h.heads {
		xr, dyr, dxr, r := h.of(x, t), h.of(dy, t), h.of(dx, t), scale(t)
		var mean float64
		for i, v := range xr {
			mean += float64(w[i]) * float64(dyr[i]) * float64(v) / float64(h.n)
		}
		for i, v := range xr {
			g := r * (float64(w[i])*float64(dyr[i]) - float64(v)*r*r*mean)
			if add {
				g += float64(dxr[i])
			}
			dxr[i] = float32(g)
		}
	}
	addColumns(dw, x.rows*h.heads, func(t, i int) float64 {
		return float64(h.of(dy, t)[i]) * float64(h.of(x, t)[i]) * scale(t)
	})
}
