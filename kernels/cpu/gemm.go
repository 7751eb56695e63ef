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
// A step is one k (F32), or a pair of k (BF16), odd first. Who computes a tile, when and beside which rows changes no bit.
type product struct {
	m, n, steps int
	kernels     *gemmKernels
	packA       func(dst []uint32, lo, rows int) // packs rows [lo, lo+rows) of A: a tile
	panel       func(p int) []uint32             // panel p of B, or nil and ...
	makePanel   func(dst []uint32, p int)        // ... what makes it
	c           []float32                        // C, rows ldc elements apart
	ldc         int
	chain       bool // continue from C instead of 0
	epilogue    kernels.Epilogue
	bias        []float32 // of the epilogue
}

// MatMul: y = x w^T, then e.
func (d *Device) MatMul(y, x kernels.Tensor, kw kernels.Weight, e kernels.Epilogue) {
	w := own("MatMul", kw)
	shape("MatMul", "x", x, y.Rows, w.k)
	shape("MatMul", "y", y, x.Rows, w.n)
	var bias []float32
	if !e.Bias.IsZero() {
		shape("MatMul", "bias", e.Bias, 1, w.n)
		bias = f32(e.Bias)
	}
	k, in := d.gemm.forward(w.t, y.Rows), f32(x)
	d.multiply(&product{
		m: y.Rows, n: w.n, steps: k.steps(w.k), kernels: k, c: f32(y), ldc: y.Stride, epilogue: e, bias: bias,
		packA: func(dst []uint32, lo, rows int) { k.rows(dst, in[lo*x.Stride:], x.Stride, rows, w.k) },
		panel: w.panel,
	})
}

// MatMulDX: dx = or += scale * dy w, the chain over n.
func (d *Device) MatMulDX(dx, dy kernels.Tensor, kw kernels.Weight, add bool, scale float32) {
	w := own("MatMulDX", kw)
	shape("MatMulDX", "dy", dy, dx.Rows, w.n)
	shape("MatMulDX", "dx", dx, dy.Rows, w.k)
	k, in := d.gemm.of(w.t), f32(dy)
	if w.t == kernels.Q8 {
		k = &d.gemm.bf16
	}
	d.multiply(&product{
		m: dx.Rows, n: w.k, steps: k.steps(w.n), kernels: k, c: f32(dx), ldc: dx.Stride,
		epilogue:  kernels.Epilogue{Add: add, Scale: scale},
		packA:     func(dst []uint32, lo, rows int) { k.rows(dst, in[lo*dy.Stride:], dy.Stride, rows, w.n) },
		makePanel: func(dst []uint32, p int) { d.gemm.turn(dst, w, p) },
	})
}

// MatMulDW: dw += dy^T x, the chain over t going on from dw.
func (d *Device) MatMulDW(dw, dy, x kernels.Tensor, op kernels.DType) {
	shape("MatMulDW", "dy", dy, x.Rows, dw.Rows)
	shape("MatMulDW", "x", x, dy.Rows, dw.Cols)
	if op != kernels.F32 && op != kernels.BF16 {
		panic(fmt.Sprintf("cpu: MatMulDW: operands of type %v: use f32 or bf16", op))
	}
	k, g, in := d.gemm.of(op), f32(dy), f32(x)
	for t := 0; t < x.Rows; t += d.gemm.bounds.dw {
		n := min(d.gemm.bounds.dw, x.Rows-t)
		d.multiply(&product{
			m: dw.Rows, n: dw.Cols, steps: k.steps(n), kernels: k, c: f32(dw), ldc: dw.Stride, chain: true,
			packA: func(dst []uint32, lo, rows int) {
				k.columns(k.format, dst, rows, g[t*dy.Stride+lo:], dy.Stride, rows, n)
			},
			makePanel: func(dst []uint32, p int) {
				lo := p * panelCols
				k.columns(k.panelFormat(), dst, panelCols, in[t*x.Stride+lo:], x.Stride, min(panelCols, x.Cols-lo), n)
				if k.format == tiles { // the last one is whole
					clear(dst[(n+1)/2*panelCols : k.steps(n)*panelCols])
				}
			},
		})
	}
}
