package cpu

import (
	"encoding/binary"
	"math"
	"unsafe"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/num"
)

// The numbers of Q8. All operations are float32 with one rounding each, RNE is rounding to nearest with ties to even.
//
// A group is 32 consecutive k of one row: k in [32g, 32g+32), the last one padded with zeros.
//
// Weights. Each group of a row is rounded by num.QuantizeQ8 to q of 8 bits and a scale d, an F16; w ~ q * d is what
// Unpack and Embed return.
//
// Activations. For each group of a row of x, with a the largest of |x[k]| and |x[k] + x[k+1]|, k even:
//
//	a < 2^-100:         s = 0, all q = 0
//	a infinite or NaN:  s = NaN, all q = 0
//	else:               s = a / 127;  q = RNE(x * (127 / a))
//
// q is within [-127, 127], and so is the sum of two neighbours before they are rounded: |q[k] + q[k+1]| <= 128.
// Processors that multiply bytes but add products in 16 bits (VPMADDUBSW) profit: with weights u in [0, 255],
// |u[k]*q[k] + u[k+1]*q[k+1]| <= 255*128 = 32640 fits. a was max|x| until November 2026. That made s smaller, but such
// processors then have to move the signs to the activations, an instruction for each 32 products (AVX2, 8 to 512
// rows: 1.2 to 1.6 times as fast without). What it costs is at the end of docs/q8-format.md.
//
// MatMul. One chain over groups ascending, from c = 0:
//
//	c = fma(float32(sum_k qx*qw) * sx, dw, c)
//
// where the sum over 32 k is exact (int32), its product with sx is rounded, and fma rounds once. Then the epilogue.
//
// MatMulDX takes w as bf16(q * d), the product rounded to F32 and then to BF16, and goes on as if w were a BF16 weight.
//
// A block holds one group of a panel: 32 scales (F16), then 8 times 32 columns x 4 k of bytes q + 128. The bytes are
// unsigned because processors multiply unsigned by signed bytes; 128*sum(qx) is subtracted.
const (
	q8Group = num.Q8Group
	q8Block = 2*panelCols + panelCols*q8Group
	q8Tiny  = 0x1p-100
)

// block is group g of panel p of a Q8 or Q4 weight.
func (w *weight) block(p, g int) []byte {
	size := w.stepBytes()
	return w.buf.mem[(p*w.steps+g)*size:][:size:size]
}

// block8 is block as one of Q8: that of a Q4 weight is converted to scratch.
func (w *weight) block8(scratch *[q8Block]byte, p, g int) []byte {
	b := w.block(p, g)
	if w.t == kernels.Q4 {
		q4Widen(scratch[:], b)
		return scratch[:]
	}
	return b
}

// q8At is the place of (column, k) in a block.
func q8At(col, k int) int { return 2*panelCols + k/4*(4*panelCols) + 4*col + k%4 }

func q8Scale(block []byte, col int) float32 {
	return num.F32FromF16(binary.LittleEndian.Uint16(block[2*col:]))
}

// quantiseRows quantises rows [lo, hi) of w, all in one panel, or copies rows that are already quantised.
func (g *gemmState) quantiseRows(w *weight, lo, hi int, row func(r int) rowSource) {
	var x []float32
	for r := lo; r < hi; r++ {
		src := row(r)
		switch {
		case src.t == kernels.Q8:
			q8PlaceRow(w, r, src.b)
			continue
		case src.t == kernels.Q4:
			q4PlaceRow(w, r, src.b)
			continue
		case src.t == kernels.F32 && src.aligned():
			x = src.floats()
		default:
			if len(x) < w.k {
				x = make([]float32, w.k)
			}
			src.widen(x[:w.k])
		}
		if w.t == kernels.Q4 {
			q4PackRow(w, r, x[:w.k])
			continue
		}
		for i := g.packQ8(w, r, x); i < w.steps; i++ {
			q8PackGroup(w.block(r/panelCols, i), r%panelCols, x[i*q8Group:min((i+1)*q8Group, w.k)])
		}
	}
}

// q8PackGroup quantises a group of a row, x, into column col of its block.
func q8PackGroup(b []byte, col int, x []float32) {
	var q [q8Group]int8
	binary.LittleEndian.PutUint16(b[2*col:], num.QuantizeQ8(q[:len(x)], x))
	for i, v := range q {
		b[q8At(col, i)] = byte(int(v) + 128)
	}
}

// q8PlaceRow copies the quantised row src, k bytes of q and then a scale for each group, to row r.
func q8PlaceRow(w *weight, r int, src []byte) {
	col, scales := r%panelCols, src[w.k:]
	for g := range w.steps {
		b, q := w.block(r/panelCols, g), src[g*q8Group:min((g+1)*q8Group, w.k)]
		copy(b[2*col:][:2], scales[2*g:])
		if len(q) < q8Group {
			var padded [q8Group]byte
			copy(padded[:], q)
			q = padded[:]
		}
		for i := 0; i < q8Group; i += 4 { // four bytes of q + 128 at once
			binary.LittleEndian.PutUint32(b[q8At(col, i):], binary.LittleEndian.Uint32(q[i:])^0x80808080)
		}
	}
}

// q8Row widens row r to y [k].
func q8Row(y []float32, w *weight, r int) {
	col := r % panelCols
	if w.t == kernels.Q4 {
		q4Row(y, w, r)
		return
	}
	for g := range w.steps {
		b := w.block(r/panelCols, g)
		d := q8Scale(b, col)
		for i := range min(q8Group, w.k-g*q8Group) {
			y[g*q8Group+i] = float32(int(b[q8At(col, i)])-128) * d
		}
	}
}

// q8Widen converts a block to BF16: [16 pairs of k][32 n][2].
func q8Widen(dst *[16 * panelCols]uint32, block []byte) {
	for j := range panelCols {
		d := q8Scale(block, j)
		for k := 0; k < q8Group; k += 2 {
			b := block[q8At(j, k):][:2]
			lo, hi := float32(int(b[0])-128)*d, float32(int(b[1])-128)*d
			dst[k/2*panelCols+j] = uint32(num.BF16FromF32(lo)) | uint32(num.BF16FromF32(hi))<<16
		}
	}
}

// q8Scales returns the scale of a group of activations and its inverse, which activations are multiplied with. If
// inverse is 0, all are quantised to 0.
func q8Scales(x []float32) (scale, inverse float32) {
	most := uint32(0)
	for i, v := range x {
		most = max(most, bits(v)&0x7fffffff) // ordered as the values are, with NaN above infinity
		if i%2 == 1 {
			most = max(most, bits(x[i-1]+v)&0x7fffffff)
		}
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

// q8Place describes the layout of a Q8 tile of A, in words: the offsets of the first group's scales and of its
// -128*sum(q) (minus), the distance from group to group of the q, which are at the start (stride), and of the scales
// and sums (step).
type q8Place struct{ scale, minus, stride, step int }

// q8Place is the layout of a tile of mr rows: group by group; or, for AMX, whose rows of q must not cross cache lines,
// the q of all groups, then all scales, then all sums.
func (f format) q8Place(mr, k int) q8Place {
	size, all := f.words()*mr, (k+q8Group-1)/q8Group*mr
	if f == q8AMX {
		return q8Place{8 * all, 9 * all, 8 * mr, mr}
	}
	return q8Place{size - 2*mr, size - mr, size, size}
}

// q8PackA packs elements [32*from, k) of mr rows, ld apart, as a tile of A. A step is a group: the q of mr rows, bytes
// in order, their scales, and -128*sum(q).
func q8PackA(f format, dst []uint32, src []float32, ld, mr, from, k int) {
	place := f.q8Place(mr, k)
	for i := range mr {
		x := src[i*ld:][:k]
		for g := from; g*q8Group < k; g++ {
			part := x[g*q8Group : min((g+1)*q8Group, k)]
			scale, inverse := q8Scales(part)
			to := (*[q8Group]int8)(unsafe.Pointer((*[q8Group / 4]uint32)(dst[g*place.stride+8*i:])))
			clear(to[:])
			sum := int32(0)
			if inverse != 0 {
				for j, v := range part {
					q := int8(math.RoundToEven(float64(float32(v * inverse))))
					to[j] = q
					sum += int32(q)
				}
			}
			dst[place.scale+g*place.step+i], dst[place.minus+g*place.step+i] = bits(scale), uint32(-128*sum)
		}
	}
}

// tileQ8 is the microkernel of Q8 in plain Go.
func tileQ8(t *tile) {
	for i := range t.mr {
		c := t.begin(i)
		for g := range t.steps {
			a := unsafe.Add(t.a, 4*g*q8Bytes.words()*t.mr)
			q := at[[q8Group]int8](a, 32*i)
			scale, minus := *at[float32](a, 32*t.mr+4*i), *at[int32](a, 36*t.mr+4*i)
			block := at[[q8Block]byte](t.b, g*q8Block)[:]
			for j := range c {
				sum := minus
				for k := 0; k < q8Group; k += 4 {
					w := block[q8At(j, k):][:4]
					sum += int32(q[k])*int32(w[0]) + int32(q[k+1])*int32(w[1]) + int32(q[k+2])*int32(w[2]) +
						int32(q[k+3])*int32(w[3])
				}
				c[j] = num.FMA32(float32(sum)*scale, q8Scale(block, j), c[j])
			}
		}
		t.end(i, c)
	}
}
