package cpu

import (
	"fmt"
	"unsafe"

	"github.com/zerosearch-go/zerosearch/kernels"
)

// adapter is the second half of a LoRA adapter, which is added to the C of a right-hand side: C += U B. U [m, r] is
// narrow and was computed from the same A before. U B is added to each tile of C right after the tile is finished,
// while it is in the cache: a separate product would read and write all of C again, which takes longer than the
// arithmetic.
type adapter struct {
	kernels *gemmKernels // its tiles have at least as many rows as those of the product
	steps   int
	u       []float32 // U, rows ldu elements apart
	ldu, r  int
	// U of the chunk, packed into tiles of the same rows; stride words from tile to tile
	a         []uint32
	stride    int                       //
	panel     func(p int) []uint32      // panel p of B
	makePanel func(dst []uint32, p int) // writes panel p where B has to be transposed
}

// after runs the last piece of a tile of C, and then adds the adapter to it. l may be nil.
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

// packAdapters packs the rows of the chunk of every U.
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

// layoutAdapters returns the number of words that the packed rows of all U take, and the number of adapters.
func (c *chunk) layoutAdapters() (words, adapters int) {
	for i := range c.rhs {
		if l := c.rhs[i].adapter; l != nil {
			l.stride = l.steps*l.kernels.format.words()*c.kernels.mr + l.kernels.format.beyond(c.kernels.mr)
			words, adapters = words+l.stride*c.nt, adapters+1
		}
	}
	return words, adapters
}

// adapters collects the LoRA adapters of a product whose A is x. All have one type.
type adapters struct {
	d        *Device
	x        kernels.Tensor
	k        *gemmKernels // kernels of the product
	down     []rhs        // the products that compute U
	t        kernels.DType
	made     *adapter // the adapter whose panels have to be transposed (dX has one adapter)
	separate []func() // additions of U B that cannot be fused into the tiles of the product
}

// add adds adapter l to the right-hand side s, whose C is y. back: this is a backward product, y is dx and x is dy; A
// and B swap roles and are transposed.
func (ls *adapters) add(s *rhs, l kernels.LoRA, y kernels.Tensor, back bool) {
	a, b, d := asWeight("LoRA", l.A), asWeight("LoRA", l.B), ls.d
	in, out := a.k, b.n
	if back {
		in, out = out, in
	}
	if a.t != b.t || a.t.Quantised() || a.n != b.k || in != ls.x.Cols || out != y.Cols || len(ls.down) > 0 &&
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

// multiply is Device.multiply for p with its adapters.
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
