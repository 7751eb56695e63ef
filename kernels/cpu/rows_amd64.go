//go:build !noasm

package cpu

import (
	"unsafe"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/num"
)

func rowsOf(i isa) *rowKernels {
	switch {
	case i >= avx512:
		return &rowsWide
	case i == avx2:
		return &rowsNarrow
	}
	return &rowsPlain
}

var rowsWide = rowKernels{
	sumSquares: sumSquaresAVX512, dot: dotAVX512, scaleRow: scaleRowAVX512,
	normDot: normDotAVX512, normBack: normBackAVX512, normBackAdd: normBackAddAVX512, normWeight: normWeightAVX512,
	rotate: rotateAVX512, rotateBack: rotateBackAVX512, swiglu: swigluAVX512, swigluBack: swigluBackAVX512,
	add: addAVX512, axpy: axpyAVX512,
	narrow: byBlocks(narrowAVX512, num.BF16Slice), widen: byBlocks(widenAVX512, num.WidenBF16),
	round:        byBlocks(roundAVX512, num.RoundBF16Slice),
	sumSquares64: func(x []float32) float64 { return sumSquaresWith(addSquaresAVX512, x) },
	adamw:        adamwAVX512, maximum: maximumAVX512, exps: expsAVX512, scanExp: scanExpAVX512,
	gradient: gradientAVX512,
}

var rowsNarrow = rowKernels{
	sumSquares: sumSquaresAVX2, dot: dotAVX2, scaleRow: scaleRowAVX2,
	normDot: normDotAVX2, normBack: normBackAVX2, normBackAdd: normBackAddAVX2, normWeight: normWeightAVX2,
	rotate: rotateAVX2, rotateBack: rotateBackAVX2, swiglu: swigluAVX2, swigluBack: swigluBackAVX2,
	add: addAVX2, axpy: axpyAVX2,
	narrow: byBlocks(narrowAVX2, num.BF16Slice), widen: byBlocks(widenAVX2, num.WidenBF16),
	round:        byBlocks(roundAVX2, num.RoundBF16Slice),
	sumSquares64: func(x []float32) float64 { return sumSquaresWith(addSquaresAVX2, x) },
	adamw:        adamwAVX2, maximum: maximumAVX2, exps: expsAVX2, scanExp: scanExpAVX2, gradient: gradientAVX2,
}

// byBlocks runs fast on multiples of 32 elements and plain on the rest.
func byBlocks[D, S any](fast, plain func(dst []D, src []S)) func(dst []D, src []S) {
	return func(dst []D, src []S) {
		n := len(src) &^ 31
		fast(dst[:n], src[:n])
		if n < len(src) {
			plain(dst[n:], src[n:])
		}
	}
}

func attnOf(i isa, t kernels.DType) *attnKernels {
	switch {
	case t == kernels.F32 && i >= avx512:
		return &attnF32AVX512
	case t == kernels.F32 && i == avx2:
		return &attnF32AVX2
	case t == kernels.F32:
		return &attnPlainF32
	case i >= avx512bf16:
		return &attnBF16
	case i >= avx512:
		return &attnWideAVX512
	case i == avx2:
		return &attnWideAVX2
	}
	return &attnPlainBF16
}

// attnAMXOf returns the AMX kernels of attention, or nil if the path has none.
func attnAMXOf(i isa) *attnKernels {
	if i == amx {
		return &attnAMX
	}
	return nil
}

var (
	attnAMX = func() attnKernels {
		k := attnBF16
		k.softmax, k.softmaxRows = softmaxTiles, nil
		k.amx, k.mr, k.pairs, k.over = true, maxAttnTile, probsPairs, overAMX
		k.columns = func(dst []uint32, src []float32, ld, t int) {
			columnsAMX(amxPairs, dst, maxAttnTile, src, ld, maxAttnTile, t)
		}
		for i := range k.scores {
			k.scores[i], k.values[i] = scoresAMX, valuesAMX
		}
		return k
	}()
	attnBF16 = attnKernels{
		mr: 14, size: 2, scores: scoresBF16avx512bf16s, values: valuesBF16avx512bf16s,
		softmaxRows: softmaxBF16, narrow: byBlocks(narrowPairs, num.BF16Slice), fold: fold2AVX512,
		foldRows: foldRowsAVX512, divide: divideAVX512, probs: probsAVX512, probsRows: probsHalves,
		transpose: transposeBlocks(transposeWords), transposePage: transposePageBF16(transposeBF16),
	}
	attnF32AVX512 = attnKernels{
		mr: 14, size: 4, scores: scoresF32avx512s, values: valuesF32avx512s,
		softmaxRows: softmaxF32AVX512, fold: fold2AVX512, foldRows: foldRowsAVX512, divide: divideAVX512,
		probs: probsAVX512, probsRows: probsWords, transpose: transposeBlocks(transposeWords),
	}
	attnWideAVX512 = attnKernels{
		mr: 13, size: 4, scores: scoresBF16avx512s, values: valuesBF16avx512s,
		softmaxRows: softmaxWideAVX512, fold: fold2AVX512, foldRows: foldRowsAVX512, divide: divideAVX512,
		probs: probsAVX512, probsRows: probsRounded, transpose: transposeBlocks(transposeWords),
		transposePage: transposePageBF16(transposeBF16),
	}
	attnF32AVX2 = attnKernels{
		mr: 6, size: 4, scores: scoresF32avx2s, values: valuesF32avx2s,
		softmaxRows: softmaxF32AVX2, fold: fold2AVX2, foldRows: foldRowsAVX2, divide: divideAVX2, probs: probsAVX2,
		transpose: transposeBlocks(inHalves(transposeWordsAVX2)), transposePage: transposePageF32,
	}
	attnWideAVX2 = attnKernels{
		mr: 6, size: 4, scores: scoresBF16avx2s, values: valuesBF16avx2s,
		softmaxRows: softmaxWideAVX2, fold: fold2AVX2, foldRows: foldRowsAVX2, divide: divideAVX2, probs: probsAVX2,
		transpose:     transposeBlocks(inHalves(transposeWordsAVX2)),
		transposePage: transposePageBF16(transposeBF16AVX2),
	}
)

// transposeBlocks returns a function that transposes blocks of 16 x 16.
func transposeBlocks(run func(*transpose16)) func(dst []float32, ldd int, src []float32, lds, rows, cols int) {
	return func(dst []float32, ldd int, src []float32, lds, rows, cols int) {
		full := cols &^ 15
		if rows%16 != 0 || full == 0 {
			transpose(dst, ldd, src, lds, rows, cols)
			return
		}
		for r := 0; r < rows; r += 16 {
			t := transpose16{dst: ptr(dst[r:]), stride: 4 * ldd, blocks: full / 16}
			for i := range t.rows {
				t.rows[i] = ptr(src[(r+i)*lds:])
			}
			run(&t)
			if full < cols {
				transpose(dst[full*ldd+r:], ldd, src[r*lds+full:], lds, 16, cols-full)
			}
		}
	}
}

// transposePageBF16 returns transposePage for pages without infinities or NaN, where D is a multiple of 32. Blocks of
// 32 x 32 have the layout that transposeBF16 expects of weights.
func transposePageBF16(run func(dst, src unsafe.Pointer, stride, blocks int)) func(keys, values, k, v []uint32,
	dim int) {
	return func(keys, values, k, v []uint32, dim int) {
		run(ptr(keys), ptr(k), 4*16*panelCols, dim/panelCols)
		run(ptr(values), ptr(v), 4*16*panelCols, dim/panelCols)
	}
}

// transposePageF32 is transposePageBF16 for F32: [D][32 keys] and [D/32][32 keys][32 d] become each other.
func transposePageF32(keys, values, k, v []uint32, dim int) {
	transposeF32AVX2(ptr(keys), ptr(k), 4*panelCols*panelCols, dim/panelCols)
	transposeF32AVX2(ptr(values), ptr(v), 4*panelCols*panelCols, dim/panelCols)
}

// kvTransposer returns the transposer for writing 16 keys to a page.
func kvTransposer(i isa, t kernels.DType) func(*transpose16) {
	switch {
	case i < avx2:
		return nil
	case i == avx2 && t == kernels.F32:
		return inHalves(transposeWordsAVX2)
	case i == avx2:
		return inHalves(transposeRoundedAVX2)
	case t == kernels.F32:
		return transposeWords
	case i < avx512bf16:
		return transposeRounded
	}
	return transposePairs
}

// transposeKeys writes 16 consecutive keys, ld elements apart in k, to keys. It returns how many elements of each key
// it wrote.
func (w *kvWriter) transposeKeys(keys []uint32, k []float32, ld int) int {
	per := 32 // elements that become 16 words
	if w.spec.Type == kernels.F32 {
		per = 16
	}
	t := transpose16{dst: ptr(keys), stride: 4 * panelCols, blocks: w.spec.HeadDim / per}
	for i := range t.rows {
		t.rows[i] = ptr(k[i*ld:])
	}
	w.transpose(&t)
	return t.blocks * per
}
