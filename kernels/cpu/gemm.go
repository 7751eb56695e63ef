package cpu

import (
	"fmt"
	"math"
	"unsafe"

	"github.com/zerosearch-go/zerosearch/kernels"
)

func bits(x float32) uint32  { return math.Float32bits(x) }
func float(u uint32) float32 { return math.Float32frombits(u) }

func asBytes(x []float32) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(x))), 4*len(x))
}

// The three products of a linear layer are one loop over tiles of mr rows x 32 columns of the result:
//
//	for each panel B of 32 columns [steps][32]      // streams from memory once for each group of rows
//	    for each tile A of mr rows [steps][mr]      // packed by the call, stays in the cache
//	        C[mr][32] = sum over steps of A * B     // registers; one chain for each element, never split
//
//	           C             A (packed by the call)  B                                            steps
//	MatMul     y [T, N]      x                       the weight's panels as they are              K
//	MatMulDX   dx [T, K]     dy                      blocks of the weight's panels, transposed    N
//	MatMulDW   dw [N, K]     dy, transposed          x, in panels                                 T, continuing from dw
//
// A step is one k (F32), or a pair of k (BF16), the odd k first. The result does not depend on which thread computes a
// tile, in which order, or on the other rows of the product.
//
// The calls, from the outside in:
//
//	MatMuls, MatMulDX, MatMulDW   check shapes and say what A, B and C are: a product           gemm.go, gemm_dw.go
//	multiply                      splits the rows into chunks whose packed A fits into scratch: packA       gemm_tile.go
//	panels                        splits the panels of B into chunks; transposes or packs those that do not exist yet: makePanel
//	runTiles                      a task is a group of rows x a group of panels; long chains are computed in pieces
//	chunk.run                     one tile: pointers, epilogue, prefetch addresses
//	gemmKernels.run[mr]           the microkernel: generated assembly, or plain Go              gemm_generic.go
type product struct {
	m, steps int
	kernels  *gemmKernels
	packA    func(dst []uint32, lo, rows int) // packs rows [lo, lo+rows) of A: a tile
	before   []rhs                            // products with the same A that LoRA adapters need first: see adapter
	rhs      []rhs
	chain    bool // continue from C instead of 0
}

// rhs is a right-hand side: a matrix B that A is multiplied with, and the result C.
type rhs struct {
	n         int
	panel     func(p int) []uint32      // returns panel p of B; nil if panels have to be made
	makePanel func(dst []uint32, p int) // writes panel p of B where panel is nil
	c         []float32                 // C, rows ldc elements apart
	ldc       int
	epilogue  kernels.Epilogue
	bias      []float32 // of the epilogue
	adapter   *adapter  // LoRA adapter that is added to C, or nil
}

// panels is the number of panels of B.
func (s *rhs) panels() int { return (s.n + panelCols - 1) / panelCols }

// hasEpilogue reports whether finished chains are scaled, or a bias or the old C is added.
func (s *rhs) hasEpilogue() bool {
	e := s.epilogue
	return e.Add || s.bias != nil || e.Scale != 0 && e.Scale != 1
}

// MatMul: y = x w^T, then e.
func (d *Device) MatMul(y, x kernels.Tensor, w kernels.Weight, e kernels.Epilogue) {
	d.MatMuls(x, []kernels.Product{{Y: y, W: w, Epilogue: e}})
}

// MatMuls packs x once and multiplies it with all weights as if they were one matrix.
func (d *Device) MatMuls(x kernels.Tensor, to []kernels.Product) {
	if len(to) == 0 {
		return
	}
	first := asWeight("MatMul", to[0].W)
	all, adapters := make([]rhs, len(to)), adapters{d: d, x: x, k: d.gemm.forward(first.t, x.Rows)}
	for i, p := range to {
		w := asWeight("MatMul", p.W)
		if w.t != first.t {
			panic(fmt.Sprintf("cpu: MatMuls: %v beside %v", w, first))
		}
		shape("MatMul", "x", x, p.Y.Rows, w.k)
		shape("MatMul", "y", p.Y, x.Rows, w.n)
		all[i] = rhs{n: w.n, panel: w.panel, c: f32(p.Y), ldc: p.Y.Stride, epilogue: p.Epilogue}
		if b := p.Epilogue.Bias; !b.IsZero() {
			shape("MatMul", "bias", b, 1, w.n)
			all[i].bias = f32(b)
		}
		if p.LoRA.A != nil {
			adapters.add(&all[i], p.LoRA, p.Y, false)
		}
	}
	p := d.byRows(adapters.k, x, first.k)
	p.rhs = all
	adapters.multiply(p)
}

// byRows is a product whose A is x [T, n]. The caller adds the right-hand sides.
func (d *Device) byRows(k *gemmKernels, x kernels.Tensor, n int) *product {
	in := f32(x)
	return &product{m: x.Rows, steps: k.steps(n), kernels: k,
		packA: func(dst []uint32, lo, rows int) { k.rows(dst, in[lo*x.Stride:], x.Stride, rows, n) }}
}

// MatMulDX: dx = or += scale * dy w, the chain over n.
func (d *Device) MatMulDX(dx, dy kernels.Tensor, kw kernels.Weight, add bool, scale float32) {
	w := weightDX(dx, dy, kw)
	d.productDX(dx, dy, w, false, kernels.Epilogue{Add: add, Scale: scale})
}

// MatMulDXLoRA packs dy once, for the weight and for the adapter's B.
func (d *Device) MatMulDXLoRA(dx, dy kernels.Tensor, kw kernels.Weight, add bool, l kernels.LoRA) {
	w := weightDX(dx, dy, kw)
	p := d.toDX(dx, dy, w, kernels.Epilogue{Add: add})
	adapters := adapters{d: d, x: dy, k: p.kernels}
	adapters.add(&p.rhs[0], l, dx, true)
	adapters.multiply(p)
}

func weightDX(dx, dy kernels.Tensor, kw kernels.Weight) *weight {
	w := asWeight("MatMulDX", kw)
	shape("MatMulDX", "dy", dy, dx.Rows, w.n)
	shape("MatMulDX", "dx", dx, dy.Rows, w.k)
	return w
}

// productDX is dx = dy w with an epilogue. With chain, accumulation starts from dx instead of 0.
func (d *Device) productDX(dx, dy kernels.Tensor, w *weight, chain bool, e kernels.Epilogue) {
	p := d.toDX(dx, dy, w, e)
	p.chain = chain
	d.multiply(p)
}

func (d *Device) toDX(dx, dy kernels.Tensor, w *weight, e kernels.Epilogue) *product {
	k := d.gemm.of(w.t)
	if w.t.Quantised() {
		k = &d.gemm.bf16
	}
	p := d.byRows(k, dy, w.n)
	p.rhs = []rhs{d.transposed(dx, w, e)}
	return p
}

// transposed is the right-hand side of a transposed weight.
func (d *Device) transposed(dx kernels.Tensor, w *weight, e kernels.Epilogue) rhs {
	return rhs{n: w.k, c: f32(dx), ldc: dx.Stride, epilogue: e,
		makePanel: func(dst []uint32, p int) { d.gemm.transpose(dst, w, p) }}
}
