package cpu

import (
	"fmt"

	"github.com/zerosearch-go/zerosearch/kernels"
)

// Embed gathers rows of w from its panels.
func (d *Device) Embed(y kernels.Tensor, kw kernels.Weight, ids kernels.Tensor) {
	w, out, id := own("Embed", kw), f32(y), i32(ids)
	shape("Embed", "y", y, ids.Rows, w.k)
	shape("Embed", "ids", ids, y.Rows, 1)
	checkIDs("Embed", id, ids, w.n)
	d.pool.Run(y.Rows, func(t int) {
		if w.k > 0 {
			w.row(out[t*y.Stride:][:w.k], int(id[t*ids.Stride]))
		}
	})
}

func checkIDs(op string, id []int32, ids kernels.Tensor, n int) {
	for t := range ids.Rows {
		if i := id[t*ids.Stride]; i < 0 || int(i) >= n {
			panic(fmt.Sprintf("cpu: %s: id %d in row %d: there are %d rows", op, i, t, n))
		}
	}
}

// stripCols is the number of columns that a task sums: two cache lines, so that tasks share none.
const stripCols = 32

// strips is the number of strips in n columns.
func strips(n int) int { return (n + stripCols - 1) / stripCols }

// strip is the columns [lo, hi) of strip s of n columns.
func strip(s, n int) (lo, hi int) { return s * stripCols, min((s+1)*stripCols, n) }

// EmbedBackward adds rows of dy to rows ids of dw: each thread its own columns, tokens ascending.
func (d *Device) EmbedBackward(dw, dy, ids kernels.Tensor) {
	w, g, id := f32(dw), f32(dy), i32(ids)
	shape("EmbedBackward", "dy", dy, ids.Rows, dw.Cols)
	shape("EmbedBackward", "ids", ids, dy.Rows, 1)
	checkIDs("EmbedBackward", id, ids, dw.Rows)
	plus := d.rows().add
	groups := min(strips(dw.Cols), 4*d.pool.threads)
	d.pool.Run(groups, func(q int) {
		lo, hi := q*strips(dw.Cols)/groups*stripCols, min((q+1)*strips(dw.Cols)/groups*stripCols, dw.Cols)
		for t := range dy.Rows {
			plus(w[int(id[t*ids.Stride])*dw.Stride:][lo:hi], g[t*dy.Stride:][lo:hi])
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
