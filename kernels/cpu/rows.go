package cpu

import (
	"fmt"
	"math"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/num"
)

// rowKernels are the inner loops of the row operations on one path. The slices of one call have the same length, which
// may be anything. The plain Go functions in rowsPlain document them; the others give the same bits.
type rowKernels struct {
	sumSquares   func(x []float32) float32
	dot          func(x, y []float32) float32
	scaleRow     func(y, x, w []float32, r float32)
	normDot      func(w, dy, x []float32) float32
	normBack     func(dx, dy, x, w []float32, r, c float32)
	normBackAdd  func(dx, dy, x, w []float32, r, c float32)
	normWeight   func(sum, dy, x []float32, r float32)
	rotate       func(a, b, cos, sin []float32)
	rotateBack   func(a, b, cos, sin []float32)
	swiglu       func(y, gate, up []float32)
	swigluBack   func(dgate, dup, dy, gate, up []float32)
	add          func(y, x []float32)
	axpy         func(y, x []float32, a float32)
	narrow       func(dst []uint16, src []float32)
	widen        func(dst []float32, src []uint16)
	round        func(dst, src []float32)
	sumSquares64 func(x []float32) float64
	adamw        func(p, g, m, v []float32, c *adamwScalars)
	maximum      func(x []float32) float32
	exps         func(y, x []float32)
	scanExp      func(z []float32, most, invTemp float32) (sum, dot float32)
	gradient     func(dz, z []float32, g *logitGradient)
}

var rowsPlain = rowKernels{
	sumSquares: sumSquares, dot: dot, scaleRow: scaleRow, normDot: normDot, normBack: normBack,
	normBackAdd: normBackAdd, normWeight: normWeight,
	rotate: rotate, rotateBack: rotateBack, swiglu: swiglu, swigluBack: swigluBack,
	add: add, axpy: axpy, narrow: num.BF16Slice, widen: num.WidenBF16, round: num.RoundBF16Slice,
	sumSquares64: func(x []float32) float64 { return sumSquaresWith(addSquares, x) },
	adamw:        adamwRow, maximum: maximum, exps: exps, scanExp: scanExp, gradient: gradient,
}

// rows returns the loops of the device's path.
func (d *Device) rows() *rowKernels { return rowsOf(d.isa) }

// rowsTask is the number of elements that a task of a row operation should have at least: some microseconds of work.
const rowsTask = 1 << 14

// forRows calls f for ranges of rows that together are [0, rows).
func (d *Device) forRows(rows, cols int, f func(r0, r1 int)) {
	per := max(1, min(rowsTask/max(cols, 1), (rows+d.pool.threads-1)/d.pool.threads))
	d.pool.Run((rows+per-1)/per, func(task int) { f(task*per, min((task+1)*per, rows)) })
}

// forPieces calls f for pieces of tensors of one shape. If all are dense, a piece is a range of elements; otherwise it
// is a row. A piece has n elements, beginning at element at[i] of tensor i. Pieces start at multiples of 64 elements of
// a dense tensor.
func (d *Device) forPieces(f func(at []int, n int), ts ...kernels.Tensor) {
	rows, cols, dense := ts[0].Rows, ts[0].Cols, true
	for _, t := range ts {
		dense = dense && t.Dense()
	}
	if !dense {
		d.forRows(rows, cols, func(r0, r1 int) {
			at := make([]int, len(ts))
			for r := r0; r < r1; r++ {
				for i, t := range ts {
					at[i] = r * t.Stride
				}
				f(at, cols)
			}
		})
		return
	}
	n := rows * cols
	d.pool.Run((n+rowsTask-1)/rowsTask, func(task int) {
		at := make([]int, len(ts))
		for i := range at {
			at[i] = task * rowsTask
		}
		f(at, min(rowsTask, n-task*rowsTask))
	})
}

// vector returns the elements of t, which must be dense and [rows, cols]. One of rows and cols is 1.
func vector(op, name string, t kernels.Tensor, rows, cols int) []float32 {
	shape(op, name, t, rows, cols)
	if !t.Dense() {
		panic(fmt.Sprintf("cpu: %s: %s is %v: a vector has stride 1", op, name, t))
	}
	return f32(t)
}

// optional is vector for tensors that may be none.
func optional(op, name string, t kernels.Tensor, rows, cols int) []float32 {
	if t.IsZero() {
		return nil
	}
	return vector(op, name, t, rows, cols)
}

// indices is the elements of t [rows, 1], all within [0, limit).
func indices(op, name string, t kernels.Tensor, rows, limit int) []int32 {
	shape(op, name, t, rows, 1)
	if !t.Dense() {
		panic(fmt.Sprintf("cpu: %s: %s is %v: a vector has stride 1", op, name, t))
	}
	x := i32(t)
	for r, i := range x {
		if i < 0 || int(i) >= limit {
			panic(fmt.Sprintf("cpu: %s: %s[%d] is %d of %d", op, name, r, i, limit))
		}
	}
	return x
}

// norms returns how many norms (heads) of n elements each row of x has.
func norms(op string, x, w kernels.Tensor) (heads, n int) {
	if x.Cols == w.Cols {
		return 1, w.Cols
	}
	if w.Cols == 0 || x.Cols%w.Cols != 0 {
		panic(fmt.Sprintf("cpu: %s: x is %v, w is %v: its width is not a multiple of that", op, x, w))
	}
	return x.Cols / w.Cols, w.Cols
}

// RMSNorm: y = x * rstd * w, rstd = 1/sqrt(mean(x^2) + eps).
func (d *Device) RMSNorm(y, x, w kernels.Tensor, eps float32, rstd kernels.Tensor) {
	const op = "RMSNorm"
	heads, n := norms(op, x, w)
	out, in, k, weight := f32(y), f32(x), d.rows(), vector(op, "w", w, 1, n)
	shape(op, "y", y, x.Rows, x.Cols)
	var keep []float32
	if !rstd.IsZero() {
		shape(op, "rstd", rstd, x.Rows, heads)
		keep = f32(rstd)
	}
	d.forRows(x.Rows, x.Cols, func(r0, r1 int) {
		for r := r0; r < r1; r++ {
			for h := range heads {
				row := in[r*x.Stride+h*n:][:n]
				mean := k.sumSquares(row) / float32(n)
				s := 1 / float32(math.Sqrt(float64(mean+eps)))
				k.scaleRow(out[r*y.Stride+h*n:][:n], row, weight, s)
				if keep != nil {
					keep[r*rstd.Stride+h] = s
				}
			}
		}
	})
}

// RMSNormBackward: dx = or += rstd*(w*dy - x*rstd^2*mean(w*dy*x)); dw += sum_t dy*x*rstd, in blocks of 64 norms merged
// in order.
func (d *Device) RMSNormBackward(dx, dw, dy, x, w, rstd kernels.Tensor, add bool) {
	const op = "RMSNormBackward"
	heads, n := norms(op, x, w)
	all := x.Rows * heads
	shape(op, "dx", dx, x.Rows, x.Cols)
	shape(op, "dy", dy, x.Rows, x.Cols)
	shape(op, "rstd", rstd, x.Rows, heads)
	out, g, in, rs, k := f32(dx), f32(dy), f32(x), f32(rstd), d.rows()
	weight, sum := vector(op, "w", w, 1, n), optional(op, "dw", dw, 1, n)
	back := k.normBack
	if add {
		back = k.normBackAdd
	}
	blocks := (all + sumRows - 1) / sumRows
	var parts []float32 // [blocks][n]
	if sum != nil {
		parts = elems[float32](d.scratch(slotRows, 4*blocks*n))
	}
	d.pool.Run(blocks, func(b int) {
		var part []float32
		if sum != nil {
			part = parts[b*n:][:n]
			clear(part)
		}
		for i := b * sumRows; i < min((b+1)*sumRows, all); i++ {
			r, at := i/heads, i%heads*n
			dyr, xr, rs := g[r*dy.Stride+at:][:n], in[r*x.Stride+at:][:n], rs[r*rstd.Stride+i%heads]
			if part != nil {
				k.normWeight(part, dyr, xr, rs)
			}
			mean := k.normDot(weight, dyr, xr) / float32(n)
			back(out[r*dx.Stride+at:][:n], dyr, xr, weight, rs, rs*rs*mean)
		}
	})
	if sum == nil {
		return
	}
	d.pool.Run(strips(n), func(s int) {
		lo, hi := strip(s, n)
		for b := range blocks {
			k.add(sum[lo:hi], parts[b*n:][lo:hi])
		}
	})
}

func sumSquares(x []float32) float32 {
	var a lanes64
	for j, v := range x {
		a[j%64] += float32(v * v)
	}
	return a.sum()
}

func dot(x, y []float32) float32 {
	var a lanes64
	for j, v := range x {
		a[j%64] += float32(v * y[j])
	}
	return a.sum()
}

func scaleRow(y, x, w []float32, r float32) {
	for j, v := range x {
		y[j] = v * r * w[j]
	}
}

func normDot(w, dy, x []float32) float32 {
	var a lanes64
	for j, v := range x {
		a[j%64] += float32(w[j] * dy[j] * v)
	}
	return a.sum()
}

func normBack(dx, dy, x, w []float32, r, c float32) {
	for j, v := range x {
		dx[j] = r * (float32(w[j]*dy[j]) - float32(v*c))
	}
}

func normBackAdd(dx, dy, x, w []float32, r, c float32) {
	for j, v := range x {
		dx[j] += float32(r * (float32(w[j]*dy[j]) - float32(v*c)))
	}
}

// normWeight: sum += dy*x*r.
func normWeight(sum, dy, x []float32, r float32) {
	for j, v := range x {
		sum[j] += float32(dy[j] * v * r)
	}
}
