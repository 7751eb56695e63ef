//go:build !noasm

package cpu

import "unsafe"

//go:generate go run ./_gen

// transpose16 transposes blocks of 16 rows of words: word s of row i becomes word i of step s.
type transpose16 struct {
	rows   [16]unsafe.Pointer
	dst    unsafe.Pointer
	stride int // bytes from step to step of dst, each written as 64 bytes
	blocks int // of 16 words of a row
}

// columns16 packs up to 16 columns of pairs of rows.
type columns16 struct {
	src, dst unsafe.Pointer
	ld       int // bytes from row to row of src
	stride   int // bytes from step to step of dst, each written as 64 bytes
	steps    int // pairs of rows, at least 1
	mask     int // a bit for each column that exists
}

// choose sets the kernels of a path. Each path includes the instructions of the paths before it; kernels that it lacks
// stay plain Go.
func (g *gemmState) choose(i isa) {
	if i >= avx2 {
		g.q4Panel = q4PanelAVX2
	}
	if i == avx2 {
		g.chooseAVX2()
	}
	if i >= avx512 {
		g.f32.set(14, single, tileF32avx512s)
		g.f32.rows, g.f32.columns = rowsWith(single, transposeWords), columnsF32
		g.bf16.set(13, pairsWide, tileBF16avx512s)
		g.bf16.rows, g.bf16.columns = rowsWith(pairsWide, transposeWide), columnsWideAVX512
		g.q8.set(6, q8Bytes, tileQ8avx512s)
		g.q8.rows = q8RowsAVX2
		g.q4 = g.q8
		g.q4.set(7, q4Bytes, tileQ4avx512s)
		g.q4.rows = g.q8.rows
		g.packBlock, g.finish = packBlock(transposeWords, transposeRounded), finishAVX512
		g.packQ8 = packQ8(q8WeightAVX512)
		g.transpose = transposePanelAVX512(q8BlockAVX512)
	}
	if i >= avx512vnni {
		g.q8.set(7, q8Bytes, tileQ8avx512vnnis)
		g.q8.rows = q8RowsVNNI
		g.q4.set(7, q4Bytes, tileQ4avx512vnnis)
		g.q4.rows = q8RowsVNNI
	}
	if i >= avx512bf16 {
		g.bf16.set(14, pairs, tileBF16avx512bf16s)
		g.bf16.rows, g.bf16.columns = rowsWith(pairs, transposePairs), columnsBF16
		g.transpose = transposePanelAVX512(q8BlockBF16)
	}
	if i >= avx512 && i != avx512bf16 { // an Intel processor: AMD's have AVX512-BF16 and no AMX
		for _, k := range []*gemmKernels{&g.f32, &g.bf16, &g.q8, &g.q4} {
			k.noPrefetchRows = 0
		}
	}
	if i == amx {
		g.pairs = g.bf16
		g.bf16 = gemmKernels{mr: maxTile, format: amxPairs, rows: rowsAMX, columns: columnsAMX, sharePrefetch: 4,
			prefetchBytes: 2 * fetchAhead}
		for mr := range g.bf16.run {
			g.bf16.run[mr] = tileBF16AMX
		}
		g.q8Many = g.q8
		g.q8Many.set(13, q8AMX, tileQ8amxs)
		g.q8Many.rows, g.q8Many.panel, g.q8Many.panelBytes, g.q8Many.sharePrefetch = q8RowsAMX, q8PanelAMX,
			q8Block+2*panelCols, 1
	}
}

func (k *gemmKernels) set(mr int, f format, run [maxTile + 1]func(*tile)) {
	k.mr, k.format, k.run = mr, f, run
	k.rows = rowPacker(f)
}

// rowsWith returns a row packer that uses a transposer for blocks of 16 words.
func rowsWith(f format, transpose func(*transpose16)) func(dst []uint32, src []float32, ld, mr, k int) {
	perBlock := 32
	if f == single {
		perBlock = 16
	}
	return func(dst []uint32, src []float32, ld, mr, k int) {
		t := transpose16{dst: unsafe.Pointer(unsafe.SliceData(dst)), stride: 4 * mr, blocks: k / perBlock}
		if t.blocks > 0 {
			// missing rows repeat row 0: they are written into the next step, which overwrites them
			for i := range t.rows {
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

// quantiser quantises full groups of a row.
type quantiser struct {
	src             *float32
	q, scale, minus *uint32 // where the first group's values go
	stride, step    int     // bytes from group to group, of q and of the others
	groups          int
}

func q8RowsAVX2(dst []uint32, src []float32, ld, mr, k int) {
	q8Rows(q8Bytes, quantiseAVX2, dst, src, ld, mr, k)
}

func q8RowsVNNI(dst []uint32, src []float32, ld, mr, k int) {
	q8Rows(q8Bytes, quantiseAVX512, dst, src, ld, mr, k)
}

func q8RowsAMX(dst []uint32, src []float32, ld, mr, k int) {
	q8Rows(q8AMX, quantiseAVX512, dst, src, ld, mr, k)
}

func q8Rows(f format, quantise func(*quantiser), dst []uint32, src []float32, ld, mr, k int) {
	full := k / q8Group
	if full > 0 {
		p := f.q8Place(mr, k)
		q := quantiser{stride: 4 * p.stride, step: 4 * p.step, groups: full}
		for i := range mr {
			q.src, q.q, q.scale, q.minus = &src[i*ld], &dst[8*i], &dst[p.scale+i], &dst[p.minus+i]
			quantise(&q)
		}
	}
	q8PackA(f, dst, src, ld, mr, full, k)
}

func columnsBF16(f format, dst []uint32, stride int, src []float32, ld, width, t int) {
	columnsWith(columnsPairs, f, 1, dst, stride, src, ld, width, t)
}

func columnsWideAVX512(f format, dst []uint32, stride int, src []float32, ld, width, t int) {
	if f == pairsWide {
		columnsWith(columnsWide, f, 2, dst, stride, src, ld, width, t)
	} else {
		columnsWith(columnsRounded, f, 1, dst, stride, src, ld, width, t)
	}
}

// columnsWith packs full pairs of rows 16 columns at a time, and an odd last row in plain Go.
func columnsWith(run func(*columns16), f format, words int, dst []uint32, stride int, src []float32, ld, width, t int) {
	for c := 0; c < stride && t > 1; c += 16 {
		n := max(min(16, width-c), 0)
		a := columns16{ld: 4 * ld, stride: 4 * stride, steps: t / 2, mask: 1<<n - 1, dst: unsafe.Pointer(&dst[c])}
		a.src = unsafe.Pointer(&src[min(c, width-1)])
		run(&a)
	}
	if t%2 == 1 {
		packColumns(f, dst[t/2*words*stride:], stride, src[(t-1)*ld:], ld, width, 1)
	}
}

func columnsF32(f format, dst []uint32, stride int, src []float32, ld, width, t int) {
	for c := 0; c < stride; c += 16 {
		n := max(min(16, width-c), 0)
		a := columns16{ld: 4 * ld, stride: 4 * stride, steps: t, mask: 1<<n - 1, dst: unsafe.Pointer(&dst[c])}
		a.src = unsafe.Pointer(&src[min(c, width-1)])
		columnsWords(&a)
	}
}

// packQ8 returns a function that quantises the full groups of row r from x and returns how many.
func packQ8(quantise func(src *float32, scale, q unsafe.Pointer, groups int)) func(w *weight, r int, x []float32) int {
	return func(w *weight, r int, x []float32) int {
		groups := w.k / q8Group
		if groups > 0 {
			b, col := w.block(r/panelCols, 0), r%panelCols
			quantise(&x[0], unsafe.Pointer(&b[2*col]), unsafe.Pointer(&b[q8At(col, 0)]), groups)
		}
		return groups
	}
}

func transposePanelAVX512(block func(dst, block unsafe.Pointer)) func(dst []uint32, w *weight, p int) {
	return transposePanelWords(func(dst []uint32, w *weight, p int) {
		var b [16 * panelCols]uint32
		var scratch [q8Block]byte
		for q := range w.panels() { // a group of 32 k is the 32 columns of a panel
			block(unsafe.Pointer(&b), unsafe.Pointer(&w.block8(&scratch, q, p)[0]))
			transposeBF16(unsafe.Pointer(&dst[q*len(b)]), unsafe.Pointer(&b), 0, 1)
		}
	}, transposeBF16, transposeF32)
}
