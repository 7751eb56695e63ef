package cpu

import (
	"fmt"

	"github.com/zerosearch-go/zerosearch/kernels"
)

// RoPE rotates pairs (i, i+D/2) of every head by the angle of the row's position, or by the negative angle if inverse.
func (d *Device) RoPE(x kernels.Tensor, heads int, kb kernels.Batch, table kernels.Tensor, inverse bool) {
	dim := table.Cols
	if dim%2 != 0 || heads < 0 {
		panic(fmt.Sprintf("cpu: RoPE: %d heads of %d", heads, dim))
	}
	shape("RoPE", "x", x, x.Rows, heads*dim)
	b := sameRows("RoPE", kb, x.Rows)
	if int(b.lastPos) >= table.Rows {
		panic(fmt.Sprintf("cpu: RoPE: position %d, angles of %d", b.lastPos, table.Rows))
	}
	v, angles, p, turn := f32(x), f32(table), b.Layout.Pos, d.rows().rotate
	if inverse {
		turn = d.rows().rotateBack
	}
	h := dim / 2
	d.forRows(x.Rows, x.Cols, func(r0, r1 int) {
		for r := r0; r < r1; r++ {
			angle := angles[int(p[r])*table.Stride:][:dim]
			row := v[r*x.Stride:][:x.Cols]
			for i := 0; i < len(row); i += dim {
				turn(row[i:i+h], row[i+h:i+dim], angle[:h], angle[h:])
			}
		}
	})
}

func rotate(a, b, cos, sin []float32) {
	for i, x := range a {
		y := b[i]
		a[i] = float32(x*cos[i]) - float32(y*sin[i])
		b[i] = float32(y*cos[i]) + float32(x*sin[i])
	}
}

func rotateBack(a, b, cos, sin []float32) {
	for i, x := range a {
		y := b[i]
		a[i] = float32(x*cos[i]) + float32(y*sin[i])
		b[i] = float32(y*cos[i]) - float32(x*sin[i])
	}
}
