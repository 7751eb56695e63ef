package cpu

import (
	"encoding/binary"
	"math"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/num"
)

// The numbers of Q8. All operations are float32 with one rounding each, RNE is rounding to nearest with ties to even.
//
// A group is 32 consecutive k of one row: k in [32g, 32g+32), the last one padded with zeros.
//
// Weights. For each group of a row:
//
//	d = f16(max|w| / 127)            the division in F32, then rounded to F16
//	q = clamp(RNE(w / d), -127, 127) with d widened to F32; 0 where d is 0
//	w ~ q * d                        what Unpack and Embed return
//
// Activations. For each group of a row of x, with a = max|x|:
//
//	a < 2^-100:         s = 0, all q = 0
//	a infinite or any x NaN: s = NaN, all q = 0
//	else:               s = a / 127;  q = RNE(x * (127 / a)), which is within [-127, 127]
//
// MatMul. One chain over groups ascending, from c = 0:
//
//	c = fma(float32(sum_k qx*qw) * sx, dw, c)
//
// where the sum over 32 k is exact (int32), its product with sx is rounded, and fma rounds once. Then the epilogue.
//
// MatMulDX takes w as bf16(q * d), the product rounded to F32 and then to BF16, and goes on as if w were a BF16 weight.
//
// A block holds a group of a panel: 32 scales (F16), then 8 times 32 columns x 4 k of bytes q + 128, so that the products of unsigned
// by signed bytes that processors have apply; 128*sum(qx) is subtracted.
const (
	q8Group = 32
	q8Block = 2*panelCols + panelCols*q8Group
	q8Tiny  = 0x1p-100
)

// block is group g of panel p of a Q8 weight.
func (w *weight) block(p, g int) []byte {
	return w.buf.mem[(p*w.steps+g)*q8Block:][:q8Block:q8Block]
}

// q8At is the place of (column, k) in a block.
func q8At(col, k int) int { return 2*panelCols + k/4*(4*panelCols) + 4*col + k%4 }

func q8Scale(block []byte, col int) float32 {
	return num.F32FromF16(binary.LittleEndian.Uint16(block[2*col:]))
}

// q8PackRows quantises rows [lo, hi) of w, all in panel p.
func q8PackRows(w *weight, p, lo, hi int, row func(r int) rowSource) {
	var x [q8Group]float32
	for r := lo; r < hi; r++ {
		src, col := row(r), r%panelCols
		for g := range w.steps {
			n := min(q8Group, w.k-g*q8Group)
			most := float32(0)
			for i := range n {
				x[i] = float(src.f32bits(g*q8Group + i))
				most = max(most, float32(math.Abs(float64(x[i]))))
			}
			clear(x[n:])
			h := num.F16FromF32(most / 127)
			b, d := w.block(p, g), num.F32FromF16(h)
			binary.LittleEndian.PutUint16(b[2*col:], h)
			for i, v := range x {
				b[q8At(col, i)] = byte(q8Round(v, d) + 128)
			}
		}
	}
}

// q8Round is clamp(RNE(w/d), -127, 127).
func q8Round(w, d float32) int {
	q := math.RoundToEven(float64(w / d))
	if d == 0 || q != q {
		return 0
	}
	return int(min(max(q, -127), 127))
}

// q8Row widens row r to y [k].
func q8Row(y []float32, w *weight, r int) {
	col := r % panelCols
	for g := range w.steps {
		b := w.block(r/panelCols, g)
		d := q8Scale(b, col)
		for i := range min(q8Group, w.k-g*q8Group) {
			y[g*q8Group+i] = float32(int(b[q8At(col, i)])-128) * d
		}
	}
}

// q8Rows is rows of x quantised, group by group: row r's q at q[r*32*groups:], its scale and -128*sum(q) of group g at r*groups + g.
type q8Rows struct {
	groups int
	q      []int8
	scale  []float32
	minus  []int32
}

func (d *Device) q8Scratch(rows, groups int) q8Rows {
	n := rows * groups
	m := d.scratch(slotQ8, n*(q8Group+8)+align)
	return q8Rows{groups, elems[int8](m[:n*q8Group]), elems[float32](m[n*q8Group:][:4*n]), elems[int32](m[n*(q8Group+4):][:4*n])}
}

// quantise row r from x [k].
func (a q8Rows) quantise(r int, x []float32) {
	for g := range a.groups {
		part := x[g*q8Group : min((g+1)*q8Group, len(x))]
		at := r*a.groups + g
		q := a.q[at*q8Group:][:q8Group]
		scale, inverse := q8Scales(part)
		a.scale[at] = scale
		sum := int32(0)
		clear(q)
		if inverse != 0 {
			for i, v := range part {
				n := int32(math.RoundToEven(float64(float32(v * inverse))))
				q[i] = int8(n)
				sum += n
			}
		}
		a.minus[at] = -128 * sum
	}
}

// q8Scales returns the scale of a group of activations and what to multiply them with; inverse 0: all are quantised to 0.
func q8Scales(x []float32) (scale, inverse float32) {
	most := uint32(0)
	for _, v := range x {
		most = max(most, bits(v)&0x7fffffff) // ordered as the values are, with NaN above infinity
	}
	switch a := float(most); {
	case most >= 0x7f800000:
		return float32(math.NaN()), 0
	case a < q8Tiny:
		return 0, 0
	default:
		return a / 127, 127 / a
	}
}

// matMulQ8 is MatMul for a Q8 weight.
func (d *Device) matMulQ8(y, x kernels.Tensor, w *weight, e kernels.Epilogue, bias []float32) {
	in, out := f32(x), f32(y)
	a := d.q8Scratch(x.Rows, w.steps)
	d.pool.Run(x.Rows, func(r int) { a.quantise(r, in[r*x.Stride:][:w.k]) })
	d.pool.Run(w.panels(), func(p int) {
		n0, n1 := p*panelCols, min((p+1)*panelCols, w.n)
		for r := range x.Rows {
			var c [panelCols]float32
			for g := range w.steps {
				q8Step(&c, w.block(p, g), a.q[(r*w.steps+g)*q8Group:][:q8Group], a.scale[r*w.steps+g])
			}
			finish(out[r*y.Stride+n0:][:n1-n0], c[:], e, bias[min(n0, len(bias)):])
		}
	})
}

// q8Step continues the chains c of a panel by one group.
func q8Step(c *[panelCols]float32, block []byte, q []int8, scale float32) {
	for j := range c {
		sum := int32(0)
		for i, v := range q {
			sum += int32(v) * (int32(block[q8At(j, i)]) - 128)
		}
		c[j] = num.FMA32(float32(sum)*scale, q8Scale(block, j), c[j])
	}
}
