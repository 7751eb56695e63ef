package ref

import (
	"slices"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/num"
)

// sumBlock is the number of elements in a block of SumSquares.
const sumBlock = 4096

// SumSquares: dst = (dst +) sum x^2 in F64, range by range, each in blocks of 4096 elements of x in row-major order,
// merged in order.
func (d *device) SumSquares(dt, xt kernels.Tensor, ranges []kernels.Range, add bool) {
	c := d.begin("SumSquares")
	defer c.end()
	x := c.f32("x", xt, -1, -1)
	dst := view[float64](c, "dst", dt, kernels.F64, 1, 1)
	c.apart("dst", dt, xt)
	if ranges == nil {
		ranges = []kernels.Range{{To: x.rows * x.cols}}
	} else if !xt.Dense() {
		c.fail("ranges of x, which is %v", xt)
	}
	var all []float32
	for t := range x.rows {
		all = append(all, x.row(t)...)
	}
	sum, next := 0.0, 0
	if add {
		sum = dst.data[0]
	}
	for _, r := range ranges {
		if r.From < next || r.To < r.From || r.To > len(all) {
			c.fail("range [%d, %d) after element %d of %d", r.From, r.To, next, len(all))
		}
		if slices.ContainsFunc(all[next:r.From], func(v float32) bool { return v != 0 }) {
			c.fail("x is not zero before element %d, where a range begins", r.From)
		}
		sum += sumSquares(all[r.From:r.To])
		next = r.To
	}
	dst.data[0] = sum
}

// sumSquares adds up blocks, and then these.
func sumSquares(x []float32) (sum float64) {
	for block := range slices.Chunk(x, sumBlock) {
		part := 0.0
		for _, v := range block {
			part += float64(v) * float64(v)
		}
		sum += part
	}
	return sum
}

// Axpy: y = fma(a, x, y).
func (d *device) Axpy(yt kernels.Tensor, a float32, xt kernels.Tensor) {
	c := d.begin("Axpy")
	defer c.end()
	x := c.f32("x", xt, -1, -1)
	y := c.f32("y", yt, x.rows, x.cols)
	c.apart("y", yt, xt)
	for t := range x.rows {
		for i, v := range x.row(t) {
			y.row(t)[i] = num.FMA32(a, v, y.row(t)[i])
		}
	}
}

// Copy: dst = src, rounded to nearest even on the way from F32 to BF16.
func (d *device) Copy(dt, st kernels.Tensor) {
	c := d.begin("Copy")
	defer c.end()
	c.place("src", st)
	c.place("dst", dt)
	c.apart("dst", dt, st)
	switch [2]kernels.DType{dt.Type, st.Type} {
	case [2]kernels.DType{kernels.F32, kernels.F32}:
		convert(c, dt, st, func(x float32) float32 { return x })
	case [2]kernels.DType{kernels.BF16, kernels.BF16}:
		convert(c, dt, st, func(x uint16) uint16 { return x })
	case [2]kernels.DType{kernels.BF16, kernels.F32}:
		convert(c, dt, st, num.BF16FromF32)
	case [2]kernels.DType{kernels.F32, kernels.BF16}:
		convert(c, dt, st, num.F32FromBF16)
	default:
		c.fail("%v = %v", dt, st)
	}
}

func convert[D, S any](c call, dt, st kernels.Tensor, f func(S) D) {
	src := view[S](c, "src", st, st.Type, -1, -1)
	dst := view[D](c, "dst", dt, dt.Type, src.rows, src.cols)
	for t := range src.rows {
		for i, x := range src.row(t) {
			dst.row(t)[i] = f(x)
		}
	}
}

// Zero: t = 0.
func (d *device) Zero(tt kernels.Tensor) {
	c := d.begin("Zero")
	defer c.end()
	c.place("tensor", tt)
	tt.Cols, tt.Stride, tt.Off = tt.Cols*tt.Type.Size(), tt.Stride*tt.Type.Size(), tt.Off*tt.Type.Size()
	tt.Type = kernels.U8
	m := view[uint8](c, "tensor", tt, kernels.U8, -1, -1)
	for r := range m.rows {
		clear(m.row(r))
	}
}
