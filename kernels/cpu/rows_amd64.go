//go:build !noasm

package cpu

import (
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/num"
)

func rowsOf(i isa) *rowKernels {
	switch i {
	case avx512, avx512bf16:
		return &rowsWide
	case avx2:
		return &rowsNarrow
	}
	return &rowsPlain
}

var rowsWide = rowKernels{
	sumSquares: sumSquaresAVX512, dot: dotAVX512, scaleRow: scaleRowAVX512,
	normDot: normDotAVX512, normBack: normBackAVX512, normBackAdd: normBackAddAVX512, normWeight: normWeightAVX512,
	rotate: rotateAVX512, rotateBack: rotateBackAVX512, swiglu: swigluAVX512, swigluBack: swigluBackAVX512,
	add: addAVX512, axpy: axpyAVX512,
	narrow: byBlocks(narrowAVX512, num.BF16Slice), widen: byBlocks(widenAVX512, num.WidenBF16), round: byBlocks(roundAVX512, num.RoundBF16Slice),
	sumSquares64: func(x []float32) float64 { return sumSquaresWith(addSquaresAVX512, x) },
	adamw:        adamwAVX512, maximum: maximumAVX512, scanExp: scanExpAVX512, gradient: gradientAVX512,
}

var rowsNarrow = rowKernels{
	sumSquares: sumSquaresAVX2, dot: dotAVX2, scaleRow: scaleRowAVX2,
	normDot: normDotAVX2, normBack: normBackAVX2, normBackAdd: normBackAddAVX2, normWeight: normWeightAVX2,
	rotate: rotateAVX2, rotateBack: rotateBackAVX2, swiglu: swigluAVX2, swigluBack: swigluBackAVX2,
	add: addAVX2, axpy: axpyAVX2,
	narrow: byBlocks(narrowAVX2, num.BF16Slice), widen: byBlocks(widenAVX2, num.WidenBF16), round: byBlocks(roundAVX2, num.RoundBF16Slice),
	sumSquares64: func(x []float32) float64 { return sumSquaresWith(addSquaresAVX2, x) },
	adamw:        adamwAVX2, maximum: maximumAVX2, scanExp: scanExpAVX2, gradient: gradientAVX2,
}

// byBlocks runs fast on multiples of 16 elements and plain on the rest.
func byBlocks[D, S any](fast, plain func(dst []D, src []S)) func(dst []D, src []S) {
	return func(dst []D, src []S) {
		n := len(src) &^ 15
		fast(dst[:n], src[:n])
		if n < len(src) {
			plain(dst[n:], src[n:])
		}
	}
}

func attnOf(_ isa, t kernels.DType) *attnKernels {
	if t == kernels.F32 {
		return &attnPlainF32
	}
	return &attnPlainBF16
}
