package ref

import (
	"github.com/zerosearch-go/zerosearch/kernels"
)

// MatMul: y[t,n] = scale * chain_k(x[t,k], w[n,k]) + bias[n] (+ y[t,n]), each step rounded to F32.
func (d *device) MatMul(yt, xt kernels.Tensor, wt kernels.Weight, e kernels.Epilogue) {
	c := d.begin("MatMul")
	defer c.end()
	w := c.weight(wt)
	x := c.operand("x", xt, -1, w.k)
	if xt.Type == kernels.BF16 && w.t != kernels.BF16 {
		c.fail("x is %v beside a weight of type %v", xt, w.t)
	}
	y := c.f32("y", yt, x.rows, w.n)
	bias := c.vector("bias", e.Bias, 1, w.n, true)
	c.apart("y", yt, xt, e.Bias)
	for t := range x.rows {
		for n, z := range w.product(x.row(t)) {
			z = scaled(z, e.Scale)
			if bias != nil {
				z += bias[n]
			}
			if e.Add {
				z += y.row(t)[n]
			}
			y.row(t)[n] = z
		}
	}
}

// MatMuls multiplies with the weights and their adapters one after the other.
func (d *device) MatMuls(x kernels.Tensor, to []kernels.Product) {
	for _, p := range to {
		d.MatMul(p.Y, x, p.W, p.Epilogue)
		if l := p.LoRA; l.A != nil {
			d.MatMul(l.U, x, l.A, kernels.Epilogue{Scale: l.Scale})
			d.MatMul(p.Y, l.U, l.B, kernels.Epilogue{Add: true})
		}
	}
}

// product is the chain of x[K] with every row of w.
func (w *weight) product(x []float32) []float32 {
	y := make([]float32, w.n)
	if w.t.Quantised() {
		q := quantize(x)
		for n := range y {
			y[n] = q.dot(w.q[n])
		}
		return y
	}
	xr := rounded(w.t, x)
	for n := range y {
		y[n] = w.d.sum(w.t, 0, xr, w.row(n))
	}
	return y
}

// scaled is scale*z, where a scale of 0 means 1.
func scaled(z, scale float32) float32 {
	if scale == 0 {
		return z
	}
	return float32(scale * z) // the conversion forbids fusing into a later addition
}

// MatMulDX: dx[t,k] = (dx[t,k] +) scale * chain_n(dy[t,n], w[n,k]).
func (d *device) MatMulDX(dxt, dyt kernels.Tensor, wt kernels.Weight, add bool, scale float32) {
	c := d.begin("MatMulDX")
	defer c.end()
	w := c.weight(wt)
	dy := c.f32("dy", dyt, -1, w.n)
	dx := c.f32("dx", dxt, dy.rows, w.k)
	c.apart("dx", dxt, dyt)
	for t := range dy.rows {
		for k, z := range w.backProduct(dy.row(t)) {
			z = scaled(z, scale)
			if add {
				z += dx.row(t)[k]
			}
			dx.row(t)[k] = z
		}
	}
}

// MatMulDXLoRA is the backward through the weight, and then through its adapter.
func (d *device) MatMulDXLoRA(dx, dy kernels.Tensor, w kernels.Weight, add bool, low kernels.LoRA) {
	d.MatMulDX(dx, dy, w, add, 1)
	d.MatMulDX(low.U, dy, low.B, false, low.Scale)
	d.MatMulDX(dx, low.U, low.A, true, 1)
}

// backProduct is the chain of dy[N] with every column of w. A Q8 or Q4 weight is widened and rounded to BF16 for it.
func (w *weight) backProduct(dy []float32) []float32 {
	op := w.t
	if op.Quantised() {
		op = kernels.BF16
	}
	dyr := rounded(op, dy)
	dx, column := make([]float32, w.k), make([]float32, w.n)
	for k := range dx {
		for n := range column {
			column[n] = round(op, w.row(n)[k])
		}
		dx[k] = w.d.sum(op, 0, dyr, column)
	}
	return dx
}

// MatMulDW: dw[n,k] = chain_t(dy[t,n], x[t,k]) starting from dw[n,k], operands rounded to op.
func (d *device) MatMulDW(dwt, dyt, xt kernels.Tensor, op kernels.DType) {
	c := d.begin("MatMulDW")
	defer c.end()
	dy := c.f32("dy", dyt, -1, -1)
	x := c.operand("x", xt, dy.rows, -1)
	if xt.Type == kernels.BF16 && op != kernels.BF16 {
		c.fail("x is %v, operands are rounded to %v", xt, op)
	}
	dw := c.f32("dw", dwt, dy.cols, x.cols)
	c.apart("dw", dwt, dyt, xt)
	if op != kernels.F32 && op != kernels.BF16 {
		c.fail("operands of type %v", op)
	}
	d.addOuter(op, dw, dy, x)
}

// MatMulDWs takes the columns of dy that belong to each dw.
func (d *device) MatMulDWs(dw []kernels.Tensor, dy, x kernels.Tensor, op kernels.DType) {
	from := 0
	for _, w := range dw {
		d.MatMulDW(w, dy.ColRange(from, w.Rows), x, op)
		from += w.Rows
	}
}

// addOuter: dw[n,k] = chain_t(dy[t,n], x[t,k]) from dw[n,k].
func (d *device) addOuter(op kernels.DType, dw, dy, x mat[float32]) {
	column := func(m mat[float32], i int) []float32 {
		v := make([]float32, m.rows)
		for t := range v {
			v[t] = round(op, m.row(t)[i])
		}
		return v
	}
	xs := make([][]float32, x.cols)
	for k := range xs {
		xs[k] = column(x, k)
	}
	for n := range dy.cols {
		dyn := column(dy, n)
		for k := range xs {
			dw.row(n)[k] = d.sum(op, dw.row(n)[k], dyn, xs[k])
		}
	}
}

// BiasBackward: db[n] += sum_t dy[t,n].
func (d *device) BiasBackward(dbt, dyt kernels.Tensor) {
	c := d.begin("BiasBackward")
	defer c.end()
	dy := c.f32("dy", dyt, -1, -1)
	db := c.vector("db", dbt, 1, dy.cols, false)
	c.apart("db", dbt, dyt)
	addColumns(db, dy.rows, func(t, n int) float64 { return float64(dy.row(t)[n]) })
}

// rowBlock is the number of rows in a block of a sum over tokens.
const rowBlock = 64

// addColumns: out[i] += sum_t f(t, i), blocks of 64 rows merged in order.
func addColumns(out []float32, rows int, f func(t, i int) float64) {
	for i := range out {
		var sum float64
		for t0 := 0; t0 < rows; t0 += rowBlock {
			var block float64
			for t := t0; t < min(t0+rowBlock, rows); t++ {
				block += f(t, i)
			}
			sum += block
		}
		if rows > 0 {
			out[i] = float32(float64(out[i]) + sum)
		}
	}
}
