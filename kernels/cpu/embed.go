package cpu

import "github.com/zerosearch-go/zerosearch/kernels"

// Embed gathers rows of w from its panels.
func (d *Device) Embed(y kernels.Tensor, kw kernels.Weight, kb kernels.Batch) {
	const op = "Embed"
	w, out, b := asWeight(op, kw), f32(y), sameRows(op, kb, y.Rows)
	shape(op, "y", y, y.Rows, w.k)
	b.checkIDs(op, w.n)
	d.pool.Run(y.Rows, func(t int) {
		if w.k > 0 {
			w.row(out[t*y.Stride:][:w.k], int(b.Layout.IDs[t]))
		}
	})
}

// stripCols is the number of columns that a task sums: two cache lines, so that tasks share none.
const stripCols = 32

// strips is the number of strips in n columns.
func strips(n int) int { return (n + stripCols - 1) / stripCols }

// strip is the columns [lo, hi) of strip s of n columns.
func strip(s, n int) (lo, hi int) { return s * stripCols, min((s+1)*stripCols, n) }

// EmbedBackward adds rows of dy to the rows of dw that the ids select. Each task sums its columns over the tokens,
// ascending.
func (d *Device) EmbedBackward(dw, dy kernels.Tensor, kb kernels.Batch) {
	const op = "EmbedBackward"
	w, g, b := f32(dw), f32(dy), sameRows(op, kb, dy.Rows)
	shape(op, "dy", dy, dy.Rows, dw.Cols)
	b.checkIDs(op, dw.Rows)
	plus := d.rows().add
	groups := min(strips(dw.Cols), 4*d.pool.threads)
	d.pool.Run(groups, func(q int) {
		lo, hi := q*strips(dw.Cols)/groups*stripCols, min((q+1)*strips(dw.Cols)/groups*stripCols, dw.Cols)
		for t := range dy.Rows {
			plus(w[int(b.Layout.IDs[t])*dw.Stride:][lo:hi], g[t*dy.Stride:][lo:hi])
		}
	})
}

// add: y += x.
func add(y, x []float32) {
	x = x[:len(y)]
	for i := range y {
		y[i] += x[i]
	}
}

// sumRows is the number of rows in a block of a sum over tokens.
const sumRows = 64

// BiasBackward: db += the sums of blocks of 64 rows, each summed from zero, in order.
func (d *Device) BiasBackward(db, dy kernels.Tensor) {
	b, g := f32(db), f32(dy)
	shape("BiasBackward", "db", db, 1, dy.Cols)
	plus := d.rows().add
	d.pool.Run(strips(dy.Cols), func(s int) {
		lo, hi := strip(s, dy.Cols)
		for t0 := 0; t0 < dy.Rows; t0 += sumRows {
			var sum [stripCols]float32
			for t := t0; t < min(t0+sumRows, dy.Rows); t++ {
				plus(sum[:hi-lo], g[t*dy.Stride:][lo:hi])
			}
			plus(b[lo:hi], sum[:hi-lo])
		}
	})
}
