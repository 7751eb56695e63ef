package cuda

import (
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/cuda/internal/gpu"
)

// MatMulDX: dx = (dx +) scale * dy w. A Q8 weight is widened to BF16 for it.
func (d *Device) MatMulDX(dx, dy kernels.Tensor, w kernels.Weight, add bool, scale float32) {
	const op = "MatMulDX"
	d.back(op, dx, dy, d.weight(op, w), add, scale)
}

// MatMulDXLoRA is the backward pass of the weight, and then of its adapter.
func (d *Device) MatMulDXLoRA(dx, dy kernels.Tensor, w kernels.Weight, add bool, low kernels.LoRA) {
	const op = "MatMulDXLoRA"
	d.back(op, dx, dy, d.weight(op, w), add, 1)
	d.back(op, low.U, dy, d.weight(op, low.B), false, low.Scale)
	d.back(op, dx, low.U, d.weight(op, low.A), true, 1)
}

func (d *Device) back(op string, dxt, dyt kernels.Tensor, w *weight, add bool, scale float32) {
	dy := d.f32(op, "dy", dyt, -1, w.n)
	o := target{rows: dyt.Rows, add: add, scale: factor(scale)}
	o.piece(d.f32(op, "dx", dxt, dyt.Rows, w.k), 0, dxt.Stride, w.k)
	if o.rows == 0 {
		return
	}
	if w.t == kernels.F32 {
		d.tiles(backProducts32, matrix{dy, dyt.Stride, dyt.Rows, w.n}, matrix{w.p, w.ld, w.n, w.k}, &o)
		return
	}
	half := aligned(halfBytes(dyt))
	b := matrix{w.p, w.ld, w.n, w.ld}
	scratch := half
	if w.t == kernels.Q8 {
		scratch += 2 * int64(w.n) * int64(w.ld)
	}
	p := d.need(forGemm, scratch)
	if w.t == kernels.Q8 {
		b.p = p + gpu.Ptr(half)
		d.launch("widen_q8", line(ceil(w.n*w.ld, 8*256), 256),
			d.arg().Ptr(b.p).Ptr(w.p).Ptr(w.scales).Long(int64(w.n*w.ld)))
	}
	d.bf16(shape{opDX, w.n, w.k}, backProducts, d.convert(p, dy, dyt), b, &o)
}

// MatMulDW: dw goes on with dy^T x, operands rounded to op.
func (d *Device) MatMulDW(dw, dy, x kernels.Tensor, op kernels.DType) {
	d.outer("MatMulDW", dy, x, op, dw)
}

// MatMulDWs takes the columns of dy that belong to each dw; dy and x are converted once.
func (d *Device) MatMulDWs(dw []kernels.Tensor, dy, x kernels.Tensor, op kernels.DType) {
	d.outer("MatMulDWs", dy, x, op, dw...)
}

// outer converts x once, and of dy the columns of each dw.
func (d *Device) outer(op string, dyt, xt kernels.Tensor, t kernels.DType, dws ...kernels.Tensor) {
	if xt.IsZero() || xt.Type != kernels.F32 && xt.Type != t || t != kernels.F32 && t != kernels.BF16 ||
		xt.Rows != dyt.Rows {
		fail(op, "operands of %v: dy is %v, x %v", t, dyt, xt)
	}
	d.f32(op, "dy", dyt, -1, -1)
	x := input{t: xt, p: d.at(op, "x", xt)}
	var half gpu.Ptr
	if t == kernels.BF16 {
		bytes := aligned(halfBytes(dyt)) // of any of its columns no more
		half = d.need(forGemm, bytes+halfBytes(xt))
		x.scratch = half + gpu.Ptr(bytes)
	}
	for from, i := 0, 0; i < len(dws); from, i = from+dws[i].Rows, i+1 {
		dw := dws[i]
		part := dyt.ColRange(from, dw.Rows)
		o := target{rows: dw.Rows, scale: 1}
		o.piece(d.f32(op, "dw", dw, -1, xt.Cols), 0, dw.Stride, xt.Cols)
		switch dy := d.at(op, "dy", part); {
		case part.Rows == 0:
		case t == kernels.F32:
			d.tiles(outerProducts32, matrix{dy, part.Stride, part.Rows, part.Cols},
				matrix{x.p, xt.Stride, xt.Rows, xt.Cols}, &o)
		default:
			d.bf16(shape{opDW, dw.Rows, xt.Cols}, outerProducts, d.convert(half, dy, part), x.half(d), &o)
		}
	}
}
