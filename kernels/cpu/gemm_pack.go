package cpu

import (
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/num"
)

// format is the memory layout of one step of a packed operand.
type format uint8

const (
	single   format = iota // [width] F32
	pairs                  // [width][2] BF16: k even in the lower half of a word
	amxPairs               // [16 steps][width][16][2] BF16: pairs, the rows of AMX tiles
	// [2][width] F32 holding values rounded to BF16, odd k first: for CPUs without AVX512-BF16
	pairsWide
	q8Bytes // a group of Q8 as bytes: see q8PackA
	q8AMX   // the same for AMX tiles
	q4Bytes // as q8Bytes, beside panels of Q4
)

// words is the number of 32-bit words of A per step and row.
func (f format) words() int {
	return [...]int{single: 1, pairs: 1, amxPairs: 1, pairsWide: 2, q8Bytes: 10, q8AMX: 10, q4Bytes: 10}[f]
}

// beyond is the number of words past the end of a tile of A that the packer may write or the microkernel may read.
func (f format) beyond(mr int) int {
	if f == q8AMX {
		return 2 * f.words() * mr // two steps
	}
	return 16
}

// panelWords is the number of words of B per step of 32 columns. Weights are never stored widened.
func (f format) panelWords() int {
	switch {
	case f == q4Bytes:
		return q4Block / 4
	case f >= q8Bytes:
		return q8Block / 4
	}
	return panelCols
}

// put stores step s of column i. Its elements are even and odd; a step of format single has even only.
func (f format) put(dst []uint32, stride, s, i int, even, odd float32) {
	switch f {
	case single:
		dst[s*stride+i] = bits(even)
	case pairs:
		dst[s*stride+i] = uint32(num.BF16FromF32(even)) | uint32(num.BF16FromF32(odd))<<16
	case pairsWide:
		dst[2*s*stride+i] = uint32(num.BF16FromF32(odd)) << 16
		dst[(2*s+1)*stride+i] = uint32(num.BF16FromF32(even)) << 16
	}
}

// packRows packs elements [from, k) of mr rows as a tile of A. Rows are ld elements apart. from is even.
func packRows(f format, dst []uint32, src []float32, ld, mr, from, k int) {
	for i := range mr {
		x := src[i*ld:][:k]
		if f == single {
			for s := from; s < k; s++ {
				dst[s*mr+i] = bits(x[s])
			}
			continue
		}
		for s := from; s+1 < k; s += 2 {
			f.put(dst, mr, s/2, i, x[s], x[s+1])
		}
		if k%2 == 1 {
			f.put(dst, mr, k/2, i, x[k-1], 0)
		}
	}
}

func rowPacker(f format) func(dst []uint32, src []float32, ld, mr, k int) {
	if f >= q8Bytes {
		return func(dst []uint32, src []float32, ld, mr, k int) { q8PackA(f, dst, src, ld, mr, 0, k) }
	}
	return func(dst []uint32, src []float32, ld, mr, k int) { packRows(f, dst, src, ld, mr, 0, k) }
}

// packColumns packs t rows of width elements, ld apart, for a chain that runs over the rows. Columns [width, stride)
// become zero.
func packColumns(f format, dst []uint32, stride int, src []float32, ld, width, t int) {
	if f == single {
		for s := range t {
			for i, x := range src[s*ld:][:width] {
				dst[s*stride+i] = bits(x)
			}
			clear(dst[s*stride+width : (s+1)*stride])
		}
		return
	}
	for s := 0; s < t; s += 2 {
		even, odd := src[s*ld:][:width], []float32(nil)
		if s+1 < t {
			odd = src[(s+1)*ld:][:width]
		}
		for i := range stride {
			var e, o float32
			if i < width {
				e = even[i]
				if odd != nil {
					o = odd[i]
				}
			}
			f.put(dst, stride, s/2, i, e, o)
		}
	}
}

// transposePanel writes panel p of the transposed weight w [n, k]: columns k in [32p, 32p+32), steps over n.
func transposePanel(dst []uint32, w *weight, p int) {
	for q := range w.panels() {
		transposeBlock(dst, w, p, q)
	}
}

// transposeBlock transposes the block of panel p that comes from panel q of w.
func transposeBlock(dst []uint32, w *weight, p, q int) {
	rows := min(panelCols, w.n-q*panelCols) // n of this panel
	cols := min(panelCols, w.k-p*panelCols) // k of this block
	if w.t == kernels.F32 {
		src := w.panel(q)
		for j := range rows {
			step := dst[(q*panelCols+j)*panelCols:][:panelCols]
			for i := range cols {
				step[i] = src[(p*panelCols+i)*panelCols+j]
			}
			clear(step[cols:])
		}
		return
	}
	var block [panelCols / 2 * panelCols]uint32
	src := block[:]
	if w.t.Quantised() {
		var scratch [q8Block]byte
		q8Widen(&block, w.block8(&scratch, q, p))
	} else {
		src = w.panel(q)[p*len(block):]
	}
	transposePairsGo(dst[q*len(block):], src, rows, cols)
}

// transposePairsGo turns [cols/2][32 n][2 k] into the steps [rows/2][32 k][2 n]. Elements beyond rows are zero in
// panels.
func transposePairsGo(dst, src []uint32, rows, cols int) {
	for i := 0; i < cols; i += 2 {
		from := src[i/2*panelCols:][:panelCols]
		for j := 0; j < rows; j += 2 {
			a, b := from[j], from[j+1]
			to := dst[j/2*panelCols+i:][:2]
			to[0], to[1] = a&0xffff|b<<16, a>>16|b&0xffff0000
		}
	}
	for j := 0; j < rows; j += 2 {
		clear(dst[j/2*panelCols+(cols+1)/2*2 : (j/2+1)*panelCols])
	}
}
