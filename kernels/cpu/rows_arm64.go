//go:build !noasm

package cpu

import (
	"unsafe"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/num"
)

func rowsOf(i isa) *rowKernels {
	if i == generic {
		return &rowsPlain
	}
	return &rowsNEON
}

var rowsNEON = rowKernels{
	sumSquares: sumSquaresBlocks, dot: dotBlocks, scaleRow: scaleRowNEON,
	normDot: normDotBlocks, normBack: normBackNEON, normBackAdd: normBackAddNEON, normWeight: normWeightNEON,
	rotate: rotateNEON, rotateBack: rotateBackNEON, swiglu: swigluNEON, swigluBack: swigluBackNEON,
	add: addNEON, axpy: axpyNEON, narrow: narrowRow, widen: widenRow, round: roundNEON,
	sumSquares64: func(x []float32) float64 { return sumSquaresWith(addSquaresNEON, x) },
	adamw:        adamwNEON, maximum: maximumBlocks, exps: expsNEON, scanExp: scanExpBlocks, gradient: gradientNEON,
}

// The following functions run assembly on full blocks and process the remaining elements in plain Go. Element j belongs
// to lane j mod the number of lanes.

func sumSquaresBlocks(x []float32) float32 {
	var a lanes64
	n := len(x) &^ 63
	sumSquaresLanesNEON(x[:n], &a)
	for j, v := range x[n:] {
		a[j] += float32(v * v)
	}
	return a.sum()
}

func dotBlocks(x, y []float32) float32 {
	var a lanes64
	n := len(x) &^ 63
	dotLanesNEON(x[:n], y, &a)
	for j, v := range x[n:] {
		a[j] += float32(v * y[n+j])
	}
	return a.sum()
}

func normDotBlocks(w, dy, x []float32) float32 {
	var a lanes64
	n := len(w) &^ 63
	normDotLanesNEON(w[:n], dy, x, &a)
	for j, v := range w[n:] {
		a[j] += float32(v * dy[n+j] * x[n+j])
	}
	return a.sum()
}

func maximumBlocks(x []float32) float32 {
	var a lanes16
	n := len(x) &^ 15
	maximumLanesNEON(x[:n], &a)
	return max(maximum(a[:]), maximum(x[n:]))
}

func scanExpBlocks(z []float32, most, invTemp float32) (sum, dot float32) {
	var a, b lanes16
	n := len(z) &^ 15
	scanExpLanesNEON(z[:n], most, invTemp, &a, &b)
	for i, v := range z[n:] {
		d := float32(v*invTemp) - most
		if d < expLeast {
			d = expLeast
		}
		e := exp(d)
		a[i] += e
		b[i] += float32(d * e)
	}
	return a.sum(), b.sum()
}

func narrowRow(dst []uint16, src []float32) {
	n := len(src) &^ 15
	narrowNEON(dst[:n], src[:n])
	if n < len(src) {
		num.BF16Slice(dst[n:], src[n:])
	}
}

func widenRow(dst []float32, src []uint16) {
	n := len(src) &^ 15
	widenNEON(dst[:n], src[:n])
	if n < len(src) {
		num.WidenBF16(dst[n:], src[n:])
	}
}

// elemsOf sees words as float32.
func elemsOf(x []uint32) []float32 { return unsafe.Slice((*float32)(ptr(x)), len(x)) }

func attnAMXOf(isa) *attnKernels { return nil }

func attnOf(i isa, t kernels.DType) *attnKernels {
	switch {
	case i == generic && t == kernels.F32:
		return &attnPlainF32
	case i == generic:
		return &attnPlainBF16
	case t == kernels.F32:
		return &attnF32NEON
	case i == neonbf16:
		return &attnBF16NEON
	}
	return &attnWideNEON
}

var (
	attnF32NEON = attnKernels{
		mr: 6, size: 4, scores: scoresF32neons, values: valuesF32neons,
		softmax: softmaxBlocks, fold: fold2NEON, divide: divideNEON, probs: probsNEON, transpose: transpose,
	}
	attnWideNEON = attnKernels{
		mr: 6, size: 4, scores: scoresBF16neons, values: valuesBF16neons,
		softmax: softmaxRounded, fold: fold2NEON, divide: divideNEON, probs: probsNEON, transpose: transpose,
	}
	attnBF16NEON = attnKernels{
		mr: 6, size: 2, scores: scoresBF16neonbf16s, values: valuesBF16neonbf16s,
		softmax: softmaxPairs, fold: fold2NEON, divide: divideNEON, probs: probsNEON, transpose: transpose,
	}
)

// softmaxBlocks is softmaxF32. The last block is padded with -Inf, whose exponential is 0.
func softmaxBlocks(p unsafe.Pointer, n int, s []float32, _ unsafe.Pointer, scale float32) (m, sum float32) {
	y := unsafe.Slice((*float32)(p), roundUp(n, 16))
	m, sum = softmaxInto(y[:roundUp(len(s), 16)], s, scale)
	clear(y[len(s):])
	return m, sum
}

func softmaxRounded(p unsafe.Pointer, n int, s []float32, ahead unsafe.Pointer, scale float32) (m, sum float32) {
	m, sum = softmaxBlocks(p, n, s, ahead, scale)
	y := unsafe.Slice((*float32)(p), n)
	roundNEON(y, y)
	return m, sum
}

// softmaxPairs writes p as BF16.
func softmaxPairs(p unsafe.Pointer, n int, s []float32, _ unsafe.Pointer, scale float32) (m, sum float32) {
	var y [partition]float32
	k := roundUp(len(s), 16)
	m, sum = softmaxInto(y[:k], s, scale)
	to := unsafe.Slice((*uint16)(p), roundUp(n, 16))
	narrowNEON(to[:k], y[:k])
	clear(to[len(s):])
	return m, sum
}

// softmaxInto computes y from s. s is shorter than y by less than a block.
func softmaxInto(y, s []float32, scale float32) (m, sum float32) {
	multiplyNEON(y[:len(s)], s, scale)
	for i := len(s); i < len(y); i++ {
		y[i] = negInf
	}
	var a lanes16
	maximumLanesNEON(y, &a)
	m = maximum(a[:])
	expSumNEON(y, &a, m)
	return m, a.sum()
}
