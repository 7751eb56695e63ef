package cuda

import (
	"math"

	"github.com/zerosearch-go/zerosearch/kernels"
)

// Copy converts between F32 and BF16.
func (d *Device) Copy(dst, src kernels.Tensor) {
	const op = "Copy"
	for _, t := range []kernels.Tensor{dst, src} {
		if t.Type != kernels.F32 && t.Type != kernels.BF16 {
			fail(op, "%v = %v", dst, src)
		}
	}
	to, from := d.tensor(op, "dst", dst, dst.Type, src.Rows, src.Cols), d.at(op, "src", src)
	flat(&dst, &src)
	a := addr(addr(d.arg(), to, dst), from, src)
	d.launch("copy"+suffix(dst.Type)+suffix(src.Type), each(dst.Rows, dst.Cols), a.Long(int64(dst.Cols)))
}

// Axpy is elementwise.
func (d *Device) Axpy(y kernels.Tensor, a float32, x kernels.Tensor) {
	const op = "Axpy"
	yp, xp := d.f32(op, "y", y, x.Rows, x.Cols), d.f32(op, "x", x, -1, -1)
	flat(&y, &x)
	d.launch("axpy", each(y.Rows, y.Cols), addr(addr(d.arg(), yp, y).Float(a), xp, x).Long(int64(x.Cols)))
}

// SumSquares sums blocks of 4096 elements, and then these. What lies between ranges is zero and summed, too.
func (d *Device) SumSquares(dst, x kernels.Tensor, _ []kernels.Range, add bool) {
	const op = "SumSquares"
	to, from := d.tensor(op, "dst", dst, kernels.F64, 1, 1), d.f32(op, "x", x, -1, -1)
	flat(&x)
	blocks := ceil(x.Len(), 4096)
	part := d.need(forPartials, int64(8*max(blocks, 1)))
	d.launch("sum_squares", line(blocks, 256), addr(d.arg().Ptr(part), from,
		x).Long(int64(x.Cols)).Long(int64(x.Len())))
	d.launch("sum_parts", line(1, 256), d.arg().Ptr(to).Ptr(part).Int(blocks).Int(toInt(add)))
}

// AdamW is elementwise.
func (d *Device) AdamW(p, g, m, v kernels.Tensor, s kernels.AdamWStep) {
	const op = "AdamW"
	if s.Step < 1 {
		fail(op, "step %d: steps count from 1", s.Step)
	}
	a := d.arg()
	for _, t := range []struct {
		name string
		t    kernels.Tensor
	}{{"p", p}, {"g", g}, {"m", m}, {"v", v}} {
		a.Ptr(d.vector(op, t.name, t.t, p.Rows, p.Cols))
	}
	a.Long(int64(p.Len())).Float(s.GradScale).Float(float32(1 - s.LR*s.WeightDecay))
	a.Float(float32(s.Beta1)).Float(float32(1 - s.Beta1)).Float(float32(s.Beta2)).Float(float32(1 - s.Beta2))
	a.Float(float32(s.LR / (1 - math.Pow(s.Beta1, float64(s.Step))))).
		Float(float32(math.Sqrt(1 - math.Pow(s.Beta2, float64(s.Step)))))
	d.launch("adamw", each(1, p.Len()), a.Float(float32(s.Eps)))
}
