package cpu

import (
	"fmt"
	"unsafe"

	"github.com/zerosearch-go/zerosearch/kernels"
)

// adapter is what an adapter adds to the C of a right-hand side: C += U B, with U [m, r] narrow and made of the same A
// before. A tile is added to when it is finished, from the cache: a product of its own would read and write all of C
// again, which takes longer than the arithmetic.
type adapter struct {
	kernels   *gemmKernels // with tiles at least as tall as those of the product
	steps     int
	u         []float32 // U, rows ldu elements apart
	ldu, r    int
	a         []uint32                  // U of the chunk, packed in tiles of the same rows, stride words apart
	stride    int                       //
	panel     func(p int) []uint32      // panel p of B
	makePanel func(dst []uint32, p int) // what makes it where B is transposed
}

// after runs a tile that hasEpilogue C, and then the adapter's. l may be nil.
func (l *adapter) after(x *tile, t, panel int, run func(*tile)) {
	run(x)
	if l == nil {
		return
	}
	x.steps, x.mode, x.scale, x.bias = l.steps, modeEpilogue|modeAdd, 1, unsafe.Pointer(&noBias)
	x.a, x.b = unsafe.Pointer(&l.a[t*l.stride]), nil
	if l.steps > 0 {
		x.b = unsafe.Pointer(unsafe.SliceData(l.panel(panel)))
	}
	x.ahead, x.aheadStep = uintptr(x.b), 0
	l.kernels.run[x.mr](x)
}

// packAdapters packs the rows of every U that belong to the chunk.
func (d *Device) packAdapters(c *chunk) {
	words, adapters := c.layoutAdapters()
	if adapters == 0 {
		return
	}
	mem := elems[uint32](d.scratch(slotAdapters, 4*words))
	for i := range c.rhs {
		if l := c.rhs[i].adapter; l != nil {
			l.a, mem = mem[:l.stride*c.nt], mem[l.stride*c.nt:]
		}
	}
	d.each(c.nt, words, func(t int) {
		for i := range c.rhs {
			if l := c.rhs[i].adapter; l != nil && l.steps > 0 {
				l.kernels.rows(l.a[t*l.stride:], l.u[c.at(t)*l.ldu:], l.ldu, c.at(t+1)-c.at(t), l.r)
			}
		}
	})
}

// layoutAdapters is the words that the packed rows of every U take, and how many there are.
func (c *chunk) layoutAdapters() (words, adapters int) {
	for i := range c.rhs {
		if l := c.rhs[i].adapter; l != nil {
			l.stride = l.steps*l.kernels.format.words()*c.kernels.mr + l.kernels.format.beyond(c.kernels.mr)
			words, adapters = words+l.stride*c.nt, adapters+1
		}
	}
	return words, adapters
}

// adapters collects the adapters of a product of the rows of x, all of one type.
type adapters struct {
	d        *Device
	x        kernels.Tensor
	k        *gemmKernels // of the product
	down     []rhs        // U
	t        kernels.DType
	made     *adapter // the one whose panels are made: there is one only
	separate []func() // what is left for products of their own
}

// add gives s, whose C is y, its adapter. back: y is dx and x is dy; B and A change roles and are transposed.
func (ls *adapters) add(s *rhs, l kernels.LoRA, y kernels.Tensor, back bool) {
	a, b, d := asWeight("LoRA", l.A), asWeight("LoRA", l.B), ls.d
	in, out := a.k, b.n
	if back {
		in, out = out, in
	}
	if a.t != b.t || a.t == kernels.Q8 || a.n != b.k || in != ls.x.Cols || out != y.Cols || len(ls.down) > 0 &&
		a.t != ls.t {
		panic(fmt.Sprintf("cpu: LoRA: %v and %v, from %v to %v", a, b, ls.x, y))
	}
	shape("LoRA", "u", l.U, ls.x.Rows, a.n)
	k, e := d.gemm.of(a.t), kernels.Epilogue{Scale: l.Scale}
	up := &adapter{kernels: k, u: f32(l.U), ldu: l.U.Stride, r: a.n, steps: k.steps(a.n), panel: b.panel}
	ls.t = a.t
	if back {
		ls.down = append(ls.down, d.transposed(l.U, b, e))
		up.makePanel = func(dst []uint32, p int) { d.gemm.transpose(dst, a, p) }
	} else {
		ls.down = append(ls.down, rhs{n: a.n, panel: a.panel, c: f32(l.U), ldc: l.U.Stride, epilogue: e})
	}
	switch add := (kernels.Epilogue{Add: true}); {
	case k.mr >= ls.k.mr:
		s.adapter = up
		if back {
			ls.made = up
		}
	case back:
		ls.separate = append(ls.separate, func() { d.productDX(y, l.U, a, false, add) })
	default:
		ls.separate = append(ls.separate, func() { d.MatMul(y, l.U, b, add) })
	}
}

// multiply is Device.multiply of p with the adapters.
func (ls *adapters) multiply(p *product) {
	d := ls.d
	if len(ls.down) > 0 {
		if k := d.gemm.of(ls.t); k == ls.k {
			p.before = ls.down
		} else {
			q := d.byRows(k, ls.x, ls.x.Cols)
			q.rhs = ls.down
			d.multiply(q)
		}
	}
	if l := ls.made; l != nil && l.steps > 0 {
		n, size := p.rhs[0].panels(), madeWords(l.steps)
		mem := elems[uint32](d.scratch(slotAdapterB, 4*size*n))
		l.panel = func(p int) []uint32 { return mem[p*size:][:size] }
		d.each(n, n*size, func(p int) { l.makePanel(l.panel(p), p) })
	}
	d.multiply(p)
	for _, f := range ls.separate {
		f()
	}
}
