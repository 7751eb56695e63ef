package cuda

import (
	"cmp"
	"errors"
	"slices"

	"github.com/zerosearch-go/zerosearch/kernels/cuda/internal/gpu"
)

// library is cuBLAS, which computes products of BF16 matrices, with the algorithm of each shape.
type library struct {
	gpu.Multiplier
	plans   map[shape]*plan
	choices *choices // of earlier processes; nil: none are kept
}

// productOp is what a product is for.
type productOp int

const (
	opY  productOp = iota // y = x w^T
	opDX                  // dx = dy w
	opDW                  // dw += dy^T x
)

func (o productOp) String() string { return [...]string{"y", "dx", "dw"}[o] }

// shape is that of a weight [N, K], all weights of a group together. Products of a part of its rows have the
// algorithm of the whole, and so the same bits.
type shape struct {
	op   productOp
	n, k int
}

// rowLimits divide products of weights by their number of rows x: up to 16, up to 64, and more. Each class may have
// an algorithm of its own if that gives the same bits as that of the last one.
var rowLimits = [...]int{16, 64, 512}

// plan is how products of a shape are computed.
type plan struct {
	algorithms [len(rowLimits)]gpu.Algorithm
	why        string // not empty: our own kernels compute them
}

// algorithm is that of a product with so many rows.
func (p *plan) algorithm(rows int) *gpu.Algorithm {
	for i, most := range rowLimits {
		if rows <= most {
			return &p.algorithms[i]
		}
	}
	return &p.algorithms[len(rowLimits)-1]
}

// ProductPlan says how products of one shape of weights are computed.
type ProductPlan struct {
	Product string // "y", "dx" or "dw"
	N, K    int
	Own     string // empty: by the library; otherwise the reason why the program's own kernels compute it
}

// Products names the library that computes products of BF16 weights, or says why there is none, and lists the shapes
// that have occurred so far.
func (d *Device) Products() (library, missing string, plans []ProductPlan) {
	if d.library == nil {
		return "", d.missing, nil
	}
	for s, p := range d.library.plans {
		plans = append(plans, ProductPlan{s.op.String(), s.n, s.k, p.why})
	}
	slices.SortFunc(plans, func(a, b ProductPlan) int {
		return cmp.Or(cmp.Compare(a.Product, b.Product), cmp.Compare(a.N, b.N), cmp.Compare(a.K, b.K))
	})
	return d.library.Library(), "", plans
}

// plan is how products of shape s are computed; nil: by our own kernels. It is chosen at the first product.
func (d *Device) plan(s shape) *plan {
	if d.library == nil || d.err != nil {
		return nil
	}
	p, ok := d.library.plans[s]
	if !ok {
		if d.recording != nil {
			d.note(errScratch)
			return nil
		}
		p = d.try(s)
		d.library.plans[s] = p
	}
	if p.why != "" {
		return nil
	}
	return p
}

// bf16 computes a product of matrices in BF16; our own kernel for it is one of from: a times b transposed (y), a
// times b (dx), or a transposed times b (dw), as gemm.cu has it.
func (d *Device) bf16(s shape, from []tile, a, b matrix, o *target) {
	if o.rows == 0 || o.cols == 0 {
		return
	}
	p := d.plan(s)
	if p == nil {
		d.tiles(from, a, b, o)
		return
	}
	all := *o
	if all.biased() {
		d.putBiases(&all)
	}
	for at := 0; at < all.n; {
		part, n := all.joined(at)
		first := b
		if s.op == opY { // the rows of w that are columns of this part
			first.p += gpu.Ptr(2 * all.begin(at) * b.ld)
			first.rows = part.cols
		}
		if !d.byLibrary(p, s.op, a, first, &part) {
			d.tiles(from, a, first, &part)
		}
		at += n
	}
}

// begin is the first column of piece i.
func (o *target) begin(i int) int {
	if i == 0 {
		return 0
	}
	return o.pieces[i-1].end
}

func (o *target) biased() bool {
	return slices.ContainsFunc(o.pieces[:o.n], func(p piece) bool { return p.bias != 0 })
}

// putBiases puts the biases in place, zeros where there are none, and makes o add to them.
func (d *Device) putBiases(o *target) {
	add := 0
	if o.add {
		add = 1
	}
	for i := range o.n {
		p, cols := o.pieces[i], o.pieces[i].end-o.begin(i)
		if p.bias != 0 || !o.add {
			a := d.arg().Ptr(p.y).Ptr(p.bias).Long(int64(p.ld)).Int(cols).Int(add)
			d.launch("put_bias", line(o.rows*ceil(cols, 256), 256), a)
		}
	}
	o.add = true
}

// joined is the product of the n pieces from i on that are neighbours in memory, as one piece without its biases.
func (o *target) joined(i int) (part target, n int) {
	first, from := o.pieces[i], o.begin(i)
	for n = 1; i+n < o.n; n++ {
		next := o.pieces[i+n]
		if next.ld != first.ld || next.y != first.y+gpu.Ptr(4*(o.begin(i+n)-from)) {
			break
		}
	}
	part = target{rows: o.rows, add: o.add, scale: o.scale}
	part.piece(first.y, 0, first.ld, o.pieces[i+n-1].end-from)
	return part, n
}

// mul is a product as BLAS has it: its matrices are ours transposed.
func mul(op productOp, a, b matrix, o *target) gpu.Mul {
	y := o.pieces[0]
	m := gpu.Mul{M: o.cols, N: o.rows, A: b.p, LDA: b.ld, B: a.p, LDB: a.ld, D: y.y, LDD: y.ld, Alpha: o.scale}
	if o.add {
		m.Beta = 1
	}
	inner := 0 // from one element of B to the next are its rows, which are our columns
	switch op {
	case opY:
		m.TransA, m.K, inner = true, a.cols, a.cols
	case opDX:
		m.K, inner = b.rows, b.rows
	case opDW:
		m.TransB, m.K, m.Beta, inner = true, a.rows, 1, o.rows
		if a.rows == 1 {
			m.LDA = ceil(o.cols, 8) * 8
		}
	}
	if a.rows == 1 { // the distance of rows means nothing
		m.LDB = ceil(inner, 8) * 8
	}
	if o.rows == 1 {
		m.LDD = ceil(o.cols, 4) * 4
	}
	return m
}

// byLibrary computes a product of one piece, and reports whether the library could.
func (d *Device) byLibrary(p *plan, op productOp, a, b matrix, o *target) bool {
	if p.why != "" {
		return false
	}
	m := mul(op, a, b, o)
	y, ld := m.D, m.LDD
	placed := y%16 == 0 && ld%4 == 0
	if !placed { // bits do not depend on where y lies
		m.LDD = ceil(m.M, 4) * 4
		m.D = d.need(forProduct, 4*int64(m.LDD)*int64(m.N))
		if m.Beta != 0 {
			d.copyF32(m.D, m.LDD, y, ld, m.N, m.M)
		}
	}
	if d.err != nil {
		return true
	}
	err := d.library.Multiply(&m, p.algorithm(o.rows))
	if errors.Is(err, gpu.ErrRefused) {
		p.why = err.Error()
		return false
	}
	d.note(err)
	if !placed {
		d.copyF32(y, ld, m.D, m.LDD, m.N, m.M)
	}
	return true
}

// copyF32 copies rows of F32 whose first elements are so many elements apart.
func (d *Device) copyF32(to gpu.Ptr, toLD int, from gpu.Ptr, fromLD, rows, cols int) {
	a := d.arg().Ptr(to).Long(int64(toLD)).Ptr(from).Long(int64(fromLD)).Long(int64(cols))
	d.launch("copy_f32_f32", each(rows, cols), a)
}
