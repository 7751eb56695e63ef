package cpu

import (
	"fmt"

	"github.com/zerosearch-go/zerosearch/kernels"
)

// MatMulDW: dw += dy^T x, the chain over t starting from dw. A narrow dw, such as that of a LoRA adapter's B, is
// computed as dw^T = x^T dy, with the same chains: its few columns would leave most of a panel empty.
func (d *Device) MatMulDW(dw, dy, x kernels.Tensor, op kernels.DType) {
	checkDW(dw.Rows, dw.Cols, dy, x, op)
	n, k := dw.Rows, dw.Cols
	if k > panelCols/2 || k >= n || k == 0 || x.Rows == 0 {
		d.addOuter(f32(dw), dw.Stride, dy, x, op)
		return
	}
	c, transposed := f32(dw), elems[float32](d.scratch(slotAdapters, 4*n*k))
	for i := range n {
		for j, v := range c[i*dw.Stride:][:k] {
			transposed[j*n+i] = v
		}
	}
	d.addOuter(transposed, n, x, dy, op)
	for i := range n {
		row := c[i*dw.Stride:][:k]
		for j := range row {
			row[j] = transposed[j*n+i]
		}
	}
}

// MatMulDWs packs x once. Several dw of few rows, such as those of LoRA adapters, are computed as one matrix.
func (d *Device) MatMulDWs(dw []kernels.Tensor, dy, x kernels.Tensor, op kernels.DType) {
	n, k := 0, x.Cols
	for _, w := range dw {
		shape("MatMulDWs", "dw", w, w.Rows, k)
		n += w.Rows
	}
	checkDW(n, k, dy, x, op)
	if x.Rows == 0 {
		return
	}
	if len(dw) < 2 || n > x.Rows { // copying dw would cost more than packing x once saves
		from := 0
		for _, w := range dw {
			d.MatMulDW(w, dy.ColRange(from, w.Rows), x, op)
			from += w.Rows
		}
		return
	}
	all := elems[float32](d.scratch(slotAdapters, 4*n*k))
	each := func(f func(row, sum []float32)) {
		from := 0
		for _, w := range dw {
			c := f32(w)
			for i := range w.Rows {
				f(c[i*w.Stride:][:k], all[(from+i)*k:][:k])
			}
			from += w.Rows
		}
	}
	each(func(row, sum []float32) { copy(sum, row) })
	d.addOuter(all, k, dy, x, op)
	each(func(row, sum []float32) { copy(row, sum) })
}

func checkDW(n, k int, dy, x kernels.Tensor, op kernels.DType) {
	shape("MatMulDW", "dy", dy, x.Rows, n)
	shape("MatMulDW", "x", x, dy.Rows, k)
	if op != kernels.F32 && op != kernels.BF16 {
		panic(fmt.Sprintf("cpu: MatMulDW: operands of type %v: use f32 or bf16", op))
	}
}

// addOuter is c[N,K] += dy[T,N]^T x[T,K], rows of c ldc elements apart.
func (d *Device) addOuter(c []float32, ldc int, dy, x kernels.Tensor, op kernels.DType) {
	k, g, in := d.gemm.of(op), f32(dy), f32(x)
	for t := 0; t < x.Rows; t += d.gemm.bounds.dw {
		n := min(d.gemm.bounds.dw, x.Rows-t)
		d.multiply(&product{
			m: dy.Cols, steps: k.steps(n), kernels: k, chain: true,
			packA: func(dst []uint32, lo, rows int) {
				k.columns(k.format, dst, rows, g[t*dy.Stride+lo:], dy.Stride, rows, n)
			},
			rhs: []rhs{{n: x.Cols, c: c, ldc: ldc, makePanel: func(dst []uint32, p int) {
				lo := p * panelCols
				k.columns(k.panelFormat(), dst, panelCols, in[t*x.Stride+lo:], x.Stride, min(panelCols, x.Cols-lo), n)
				if k.format == amxPairs { // the last AMX block must be complete: pad it with zeros
					clear(dst[(n+1)/2*panelCols : k.steps(n)*panelCols])
				}
			}}},
		})
	}
}
