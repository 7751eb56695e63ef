package cuda

import (
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/cuda/internal/gpu"
)

// MatMul: y = x w^T, then e.
func (d *Device) MatMul(y, x kernels.Tensor, w kernels.Weight, e kernels.Epilogue) {
	d.multiply("MatMul", x, kernels.Product{Y: y, W: w, Epilogue: e})
}

// MatMuls multiplies at once with weights of one group that are neighbours in memory, with others one by one; then come
// their adapters.
func (d *Device) MatMuls(x kernels.Tensor, to []kernels.Product) { d.multiply("MatMuls", x, to...) }

// most is the largest number of weights in one product: pieces of its output.
const most = 4

func (d *Device) multiply(op string, xt kernels.Tensor, to ...kernels.Product) {
	x := d.input(op, xt, to)
	for len(to) > 0 {
		n := 1
		for n < len(to) && n < most && d.follows(op, to[n-1], to[n]) {
			n++
		}
		d.forward(op, &x, to[:n])
		for _, p := range to[:n] {
			d.adapt(op, &x, p)
		}
		to = to[n:]
	}
}

// follows says whether b can be columns of the product that a is the last of.
func (d *Device) follows(op string, a, b kernels.Product) bool {
	v, w := d.weight(op, a.W), d.weight(op, b.W)
	return v.store == w.store && v.k == w.k && v.p+gpu.Ptr(v.n)*v.rowStep() == w.p && a.Add == b.Add &&
		factor(a.Scale) == factor(b.Scale)
}

// rowStep is from the elements of one row to those of the next, in bytes.
func (w *weight) rowStep() gpu.Ptr { return gpu.Ptr(w.ld * max(1, w.t.Size())) }

// adapt adds the output of p's adapter for x.
func (d *Device) adapt(op string, x *input, p kernels.Product) {
	l := p.LoRA
	if l.A == nil {
		return
	}
	d.forward(op, x, []kernels.Product{{Y: l.U, W: l.A, Epilogue: kernels.Epilogue{Scale: l.Scale}}})
	u := x.after(d, op, l.U)
	d.forward(op, &u, []kernels.Product{{Y: p.Y, W: l.B, Epilogue: kernels.Epilogue{Add: true}}})
}

// forward computes one product with weights that are neighbours in memory.
func (d *Device) forward(op string, x *input, to []kernels.Product) {
	w := d.weight(op, to[0].W)
	if w.k != x.t.Cols || x.t.Type == kernels.BF16 && w.t != kernels.BF16 {
		fail(op, "x is %v, and the weight %v[%d, %d]", x.t, w.t, w.n, w.k)
	}
	o := target{rows: x.t.Rows, scale: factor(to[0].Scale), add: to[0].Add}
	for _, p := range to {
		n, _ := p.W.Shape()
		o.piece(d.f32(op, "y", p.Y, x.t.Rows, n), d.maybe(op, "bias", p.Bias, 1, n), p.Y.Stride, n)
	}
	switch w.t {
	case kernels.BF16:
		a := x.half(d)
		b := matrix{w.p, w.ld, o.cols, w.ld}
		d.bf16(shape{opY, w.store.rows, w.k}, products, a, b, &o)
	case kernels.F32:
		d.tiles(products32, matrix{x.p, x.t.Stride, x.t.Rows, w.k}, matrix{w.p, w.ld, o.cols, w.k}, &o)
	case kernels.Q8:
		d.tiles8(x.quantised(d), groups{w.p, w.scales, w.ld, o.cols}, &o)
	}
}

// factor is a scale, where 0 means 1.
func factor(scale float32) float32 {
	if scale == 0 {
		return 1
	}
	return scale
}

// target is where a product goes: Output in gemm.h.
type target struct {
	pieces     [most]piece
	n          int // of pieces
	rows, cols int
	add        bool
	scale      float32
}

type piece struct {
	y, bias gpu.Ptr
	ld, end int
}

// piece adds n columns at y, whose rows are ld elements apart.
func (o *target) piece(y, bias gpu.Ptr, ld, n int) {
	o.cols += n
	o.pieces[o.n] = piece{y, bias, ld, o.cols}
	o.n++
}

// args adds o to the parameters of a kernel.
func (o *target) args(a *gpu.Args) *gpu.Args {
	from := 0
	for _, p := range o.pieces {
		if p.y == 0 {
			p.end = o.cols
		}
		a.Ptr(p.y).Ptr(p.bias).Long(int64(p.ld)).Int(from).Int(p.end)
		from = p.end
	}
	add := 0
	if o.add {
		add = 1
	}
	return a.Int(o.rows).Int(o.cols).Int(add).Float(o.scale)
}
