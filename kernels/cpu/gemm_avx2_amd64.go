//go:build !noasm

package cpu

import (
	"unsafe"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/num"
	"golang.org/x/sys/cpu"
)

// transpose8 transposes blocks of 8 rows of words: word s of row i becomes word i of step s.
type transpose8 struct {
	rows   [8]unsafe.Pointer
	dst    unsafe.Pointer
	stride int // bytes from step to step of dst, each written as 32 bytes
	blocks int // of 8 words of a row
}

// columns8 packs up to 8 columns of rows, or of pairs of rows; or 32 columns, without mask.
type columns8 struct {
	src, dst unsafe.Pointer
	ld       int       // bytes from row to row of src
	stride   int       // bytes from step to step of dst, each written as 32 bytes
	steps    int       // at least 1
	mask     [8]uint32 // all bits for each column that exists
}

// chooseAVX2 sets the kernels of the AVX2 path.
func (g *gemmState) chooseAVX2() {
	g.f32.set(6, single, tileF32avx2s)
	g.f32.rows, g.f32.columns = rowsAVX2(single, transposeWordsAVX2), columnsF32AVX2
	g.bf16.set(6, pairsWide, tileBF16avx2s)
	g.bf16.rows, g.bf16.columns = rowsAVX2(pairsWide, transposeWideAVX2), columnsBF16AVX2
	g.q8.set(10, q8Bytes, tileQ8avx2s)
	g.q8.rows = q8RowsAVX2
	g.q4 = g.q8
	g.q4.set(10, q4Bytes, tileQ4avx2s)
	g.q4.rows = g.q8.rows
	for _, k := range []*gemmKernels{&g.bf16, &g.q8, &g.q4} {
		k.noPrefetchRows, k.prefetchBytes = 0, fetchAheadAVX2
	}
	g.packBlock, g.finish = packBlock(inHalves(transposeWordsAVX2), inHalves(transposeRoundedAVX2)), finishAVX2
	g.packQ8 = packQ8(q8WeightAVX2)
	g.transpose = transposePanelWords(transposePanelQ8, transposeBF16AVX2, transposeF32AVX2)
}

func init() {
	if x := &cpu.X86; x.HasAVX2 && x.HasFMA {
		num.UsualQ4Errors = q4ErrorsVector
	}
}

// q4ErrorsVector is a num.Q4Errors.
func q4ErrorsVector(sums *[2][8]float32, x []float32, inverse *[2]float32, zeros *[2][8]float32) {
	q4ErrorsAVX2(sums, unsafe.SliceData(x), len(x), inverse, zeros)
}

// inHalves is a transposer of 16 rows that transposes 8 and 8.
func inHalves(run func(*transpose8)) func(*transpose16) {
	return func(t *transpose16) {
		h := transpose8{dst: t.dst, stride: t.stride, blocks: 2 * t.blocks}
		for half := range 2 {
			copy(h.rows[:], t.rows[8*half:])
			h.dst = unsafe.Add(t.dst, 32*half)
			run(&h)
		}
	}
}

// rowsAVX2 returns a packer of up to 8 rows that uses a transposer for blocks of 8 words.
func rowsAVX2(f format, transpose func(*transpose8)) func(dst []uint32, src []float32, ld, mr, k int) {
	perBlock := 16
	if f == single {
		perBlock = 8
	}
	return func(dst []uint32, src []float32, ld, mr, k int) {
		t := transpose8{dst: unsafe.Pointer(unsafe.SliceData(dst)), stride: 4 * mr, blocks: k / perBlock}
		if t.blocks > 0 {
			for i := range t.rows { // missing rows repeat row 0: see rowsWith
				r := i
				if r >= mr {
					r = 0
				}
				t.rows[i] = unsafe.Pointer(&src[r*ld])
			}
			transpose(&t)
		}
		packRows(f, dst, src, ld, mr, t.blocks*perBlock, k)
	}
}

func columnsF32AVX2(_ format, dst []uint32, stride int, src []float32, ld, width, t int) {
	columnsAVX2(columnsWordsAVX2, panelWordsAVX2, dst, stride, src, ld, width, t)
}

// columnsBF16AVX2 packs full pairs of rows, and an odd last row in plain Go.
func columnsBF16AVX2(f format, dst []uint32, stride int, src []float32, ld, width, t int) {
	words := 1
	if f == pairsWide {
		words = 2
		columnsAVX2(columnsWideAVX2, nil, dst, stride, src, ld, width, t/2)
	} else {
		columnsAVX2(columnsRoundedAVX2, panelRoundedAVX2, dst, stride, src, ld, width, t/2)
	}
	if t%2 == 1 {
		packColumns(f, dst[t/2*words*stride:], stride, src[(t-1)*ld:], ld, width, 1)
	}
}

// columnsAVX2 packs columns 8 at a time, or 32 at a time by panel if there are exactly 32.
func columnsAVX2(run, panel func(*columns8), dst []uint32, stride int, src []float32, ld, width, steps int) {
	if steps == 0 {
		return
	}
	a := columns8{ld: 4 * ld, stride: 4 * stride, steps: steps}
	if width == panelCols && stride == panelCols && panel != nil {
		a.src, a.dst = unsafe.Pointer(&src[0]), unsafe.Pointer(&dst[0])
		panel(&a)
		return
	}
	for c := 0; c < stride; c += 8 {
		for i := range a.mask {
			a.mask[i] = 0
			if c+i < width {
				a.mask[i] = ^uint32(0)
			}
		}
		a.src, a.dst = unsafe.Pointer(&src[min(c, width-1)]), unsafe.Pointer(&dst[c])
		run(&a)
	}
}

// transposePanelQ8 transposes a panel of a Q8 weight, as BF16.
func transposePanelQ8(dst []uint32, w *weight, p int) {
	var b [16 * panelCols]uint32
	var scratch [q8Block]byte
	for q := range w.panels() {
		q8Widen(&b, w.block8(&scratch, q, p))
		transposeBF16AVX2(unsafe.Pointer(&dst[q*len(b)]), unsafe.Pointer(&b), 0, 1)
	}
}

// transposePanelWords returns a function that makes panel p of the transposed weight, with transposers of blocks of 32
// x 32. q8 does it for Q8.
func transposePanelWords(q8 func(dst []uint32, w *weight, p int), pairs, words func(dst, src unsafe.Pointer, stride,
	blocks int)) func(dst []uint32, w *weight, p int) {
	return func(dst []uint32, w *weight, p int) {
		switch {
		case w.t.Quantised():
			q8(dst, w, p)
		case w.t == kernels.BF16:
			src := w.panel(0)[p*16*panelCols:]
			pairs(unsafe.Pointer(&dst[0]), unsafe.Pointer(&src[0]), 4*w.steps*panelCols, w.panels())
		case w.t == kernels.F32 && (p+1)*panelCols <= w.k:
			src := w.panel(0)[p*panelCols*panelCols:]
			words(unsafe.Pointer(&dst[0]), unsafe.Pointer(&src[0]), 4*w.steps*panelCols, w.panels())
		default:
			transposePanel(dst, w, p)
		}
	}
}

// packBlock returns a function that packs the full blocks of 16 rows of a weight from row r, with transposers of words
// and of float32 that are rounded to pairs.
func packBlock(words, rounded func(*transpose16)) func(w *weight, dst []uint32, r int, row func(r int) rowSource) int {
	return func(w *weight, dst []uint32, r int, row func(r int) rowSource) int {
		src := row(r).t
		t := transpose16{dst: unsafe.Pointer(&dst[0]), stride: 4 * panelCols}
		run := words
		switch {
		case w.t == src && w.t == kernels.F32:
			t.blocks = w.k / 16
		case w.t == src && w.t == kernels.BF16:
			t.blocks = w.k / 32
		case w.t == kernels.BF16 && src == kernels.F32:
			t.blocks, run = w.k/32, rounded
		default:
			return 0
		}
		if t.blocks > 0 {
			for i := range t.rows {
				t.rows[i] = unsafe.Pointer(&row(r + i).b[0])
			}
			run(&t)
		}
		return t.blocks * 16
	}
}
