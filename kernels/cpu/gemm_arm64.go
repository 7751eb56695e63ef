//go:build !noasm

package cpu

import (
	"unsafe"

	"github.com/zerosearch-go/zerosearch/num"
)

// choose sets the kernels of a path; kernels that the path lacks stay plain Go. BFMLALT and BFMLALB are the two halves
// of a BF16 step, each rounded once, in the order of the chain. BFDOT and BFMMLA round differently, so they are not
// used.
func (g *gemmState) choose(i isa) {
	if i != neon && i != neonbf16 {
		return
	}
	g.f32.set(6, single, tileF32neons)
	g.f32.rows, g.f32.columns = rowsF32, columnsNEON
	if i == neonbf16 {
		g.bf16.set(6, pairs, tileBF16neonbf16s)
		g.bf16.rows = rowsPairs
	} else {
		g.bf16.set(6, pairsWide, tileBF16neons)
		g.bf16.rows = rowsWide
	}
	g.bf16.columns = columnsNEON
	if hasDot() {
		g.q8.set(4, q8Bytes, tileQ8sdots)
		g.q4 = g.q8
		g.q4.set(4, q4Bytes, tileQ4sdots)
	}
}

func init() { num.UsualQ4Errors = q4ErrorsVector }

// q4ErrorsVector is a num.Q4Errors.
func q4ErrorsVector(sums *[2][8]float32, x []float32, inverse *[2]float32, zeros *[2][8]float32) {
	q4ErrorsNEON(sums, unsafe.SliceData(x), len(x), inverse, zeros)
}

func (k *gemmKernels) set(mr int, f format, run [maxTile + 1]func(*tile)) {
	k.mr, k.format, k.run = mr, f, run
	k.rows = rowPacker(f)
}

func rowsF32(dst []uint32, src []float32, ld, mr, k int) {
	for i := range mr {
		scatter(dst[i:], mr, words(src[i*ld:][:k]))
	}
}

// scatter stores src at every stride-th word of dst.
func scatter(dst []uint32, stride int, src []uint32) {
	for _, x := range src {
		dst[0] = x
		if len(dst) <= stride { // after the last one
			return
		}
		dst = dst[stride:]
	}
}

// packedAtOnce is the number of elements that are rounded at a time, in a buffer on the stack.
const packedAtOnce = 512

func rowsPairs(dst []uint32, src []float32, ld, mr, k int) {
	var half [packedAtOnce]uint16
	for i := range mr {
		x := src[i*ld:][:k]
		for from := 0; from < k; from += packedAtOnce {
			n := min(packedAtOnce, k-from)
			narrowRow(half[:n], x[from:from+n])
			if n%2 == 1 {
				half[n] = 0
			}
			to := dst[from/2*mr+i:]
			for s := 0; s < n; s += 2 {
				to[s/2*mr] = uint32(half[s]) | uint32(half[s+1])<<16
			}
		}
	}
}

func rowsWide(dst []uint32, src []float32, ld, mr, k int) {
	var rounded [packedAtOnce]float32
	for i := range mr {
		x := src[i*ld:][:k]
		for from := 0; from < k; from += packedAtOnce {
			n := min(packedAtOnce, k-from)
			roundNEON(rounded[:n], x[from:from+n])
			if n%2 == 1 {
				rounded[n] = 0
			}
			to := dst[from*mr+i:]
			for s := 0; s < n; s += 2 {
				to[s*mr], to[(s+1)*mr] = bits(rounded[s+1]), bits(rounded[s])
			}
		}
	}
}

// columnsNEON is packColumns.
func columnsNEON(f format, dst []uint32, stride int, src []float32, ld, width, t int) {
	per := 2 // rows of src that a step takes
	if f == single {
		per = 1
	}
	for s := 0; s+per <= t; s += per {
		step := elemsOf(dst[s/per*f.words()*stride:])
		x, y := src[s*ld:][:width], src[(s+per-1)*ld:][:width]
		switch f {
		case single:
			copy(step, x)
		case pairs:
			pairsNEON(step[:width], x, y)
		default:
			roundNEON(step[:width], y)
			roundNEON(step[stride:][:width], x)
			clear(step[stride+width : 2*stride])
		}
		clear(step[width:stride])
	}
	if t%per != 0 {
		packColumns(f, dst[t/2*f.words()*stride:], stride, src[(t-1)*ld:], ld, width, 1)
	}
}
