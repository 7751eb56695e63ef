package ref

import (
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/num"
)

// sumBlock is the number of elements that SumSquares takes at a time.
const sumBlock = 4096

// SumSquares: dst = (dst +) sum x^2 in F64, in blocks of 4096 elements of x in row-major order, merged in order.
func (d *device) SumSquares(dt, xt kernels.Tensor, add bool) {
	c := d.begin("SumSquares")
	defer c.end()
	x := c.f32("x", xt, -1, -1)
	dst := view[float64](c, "dst", dt, kernels.F64, 1, 1)
	c.apart("dst", dt, xt)
	var sum, block float64
	n := 0
	for t := range x.rows {
		for _, v := range x.row(t) {
			block += float64(v) * float64(v)
			if n++; n%sumBlock == 0 {
				sum, block = sum+block, 0
			}
		}
	}
	sum += block
	if add {
		sum += dst.data[0]
	}
	dst.data[0] = sum
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
