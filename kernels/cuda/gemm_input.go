package cuda

import (
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/cuda/internal/gpu"
	"github.com/zerosearch-go/zerosearch/num"
)

// matrix is an operand of a product as its kernel takes it: rows of ld elements, of which the first cols are used.
type matrix struct {
	p              gpu.Ptr
	ld, rows, cols int
}

// args adds m to the parameters of a kernel.
func (m matrix) args(a *gpu.Args) *gpu.Args {
	return a.Ptr(m.p).Long(int64(m.ld)).Int(m.rows).Int(m.cols)
}

// groups is an operand in Q8: rows of ld bytes, and a scale for each 32 of them.
type groups struct {
	p, scales gpu.Ptr
	ld, rows  int
}

// args adds g to the parameters of a kernel.
func (g groups) args(a *gpu.Args) *gpu.Args {
	return a.Ptr(g.p).Ptr(g.scales).Long(int64(g.ld)).Int(g.rows).Int(0)
}

// input is the matrix that weights are multiplied with, and what it was converted to so far, in scratch memory.
type input struct {
	t       kernels.Tensor
	p       gpu.Ptr
	scratch gpu.Ptr // what is not used yet
	bf16    matrix  // p is 0 before it is needed
	q8      groups  // so is this
}

// unitsOf is n rounded up to the 8 elements of BF16 that kernels take at once.
func unitsOf(n int) int { return ceil(n, 8) * 8 }

// halfBytes is the size of a tensor in BF16.
func halfBytes(t kernels.Tensor) int64 { return int64(t.Rows) * int64(unitsOf(t.Cols)) * 2 }

// aligned rounds bytes of scratch up, so that what follows is aligned to 256.
func aligned(bytes int64) int64 { return (bytes + 255) &^ 255 }

// input is x for products with the weights and adapters of to; scratch memory for all its conversions is taken once.
func (d *Device) input(op string, x kernels.Tensor, to []kernels.Product) input {
	if x.IsZero() || x.Type != kernels.F32 && x.Type != kernels.BF16 {
		fail(op, "x is %v", x)
	}
	in := input{t: x, p: d.at(op, "x", x)}
	var half, q8, low int64
	for _, p := range to {
		switch p.W.Type() {
		case kernels.BF16:
			half = halfBytes(x)
		case kernels.Q8:
			q8 = quantisedBytes(x)
		}
		if l := p.LoRA; l.A != nil && l.A.Type() == kernels.BF16 {
			half, low = halfBytes(x), max(low, halfBytes(l.U))
		}
	}
	if in.takenAsIs() {
		half = 0
	}
	in.scratch = d.need(forGemm, aligned(half)+aligned(q8)+aligned(low))
	return in
}

// after is u as the input of another product, converted behind what x was converted to.
func (x *input) after(d *Device, op string, u kernels.Tensor) input {
	return input{t: u, p: d.f32(op, "u", u, x.t.Rows, -1), scratch: x.scratch}
}

// takenAsIs says whether kernels can read x without a conversion.
func (x *input) takenAsIs() bool {
	return x.t.Type == kernels.BF16 && x.p%16 == 0 && x.t.Cols%8 == 0 && (x.t.Stride%8 == 0 || x.t.Rows <= 1)
}

// half is x in BF16.
func (x *input) half(d *Device) matrix {
	if x.bf16.p == 0 {
		if x.bf16 = (matrix{x.p, x.t.Stride, x.t.Rows, x.t.Cols}); !x.takenAsIs() {
			x.bf16 = d.convert(x.take(halfBytes(x.t)), x.p, x.t)
		}
	}
	return x.bf16
}

// quantisedBytes is the size of a tensor in Q8.
func quantisedBytes(t kernels.Tensor) int64 {
	ld := ceil(t.Cols, kStep) * kStep
	return int64(t.Rows) * int64(ld+4*ld/num.Q8Group)
}

// quantised is x in Q8.
func (x *input) quantised(d *Device) groups {
	if x.q8.p == 0 {
		ld := ceil(x.t.Cols, kStep) * kStep
		p := x.take(quantisedBytes(x.t))
		x.q8 = groups{p, p + gpu.Ptr(x.t.Rows*ld), ld, x.t.Rows}
		d.launch("quantise", line(ceil(x.t.Rows*ld, 256), 256),
			d.arg().Ptr(p).Ptr(x.q8.scales).Ptr(x.p).Int(x.t.Rows).Int(x.t.Cols).Long(int64(x.t.Stride)).Int(ld))
	}
	return x.q8
}

// take reserves bytes of scratch memory.
func (x *input) take(bytes int64) gpu.Ptr {
	p := x.scratch
	x.scratch += gpu.Ptr(aligned(bytes))
	return p
}

// convert rounds t, whose address is p, to BF16.
func (d *Device) convert(to, p gpu.Ptr, t kernels.Tensor) matrix {
	m := matrix{to, unitsOf(t.Cols), t.Rows, unitsOf(t.Cols)}
	kernel := "operand_f32"
	if t.Type == kernels.BF16 {
		kernel = "operand_bf16"
	}
	d.launch(kernel, line(ceil(m.rows*(m.ld/8), 256), 256), d.arg().Ptr(to).Ptr(p).Int(t.Rows).Int(t.Cols).
		Long(int64(t.Stride)).Int(m.ld))
	return m
}
