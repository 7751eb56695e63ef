package cpu

import (
	"unsafe"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/num"
)

// attnKernels are the inner loops of attention on one path and one type of cache.
//
// Their matmul differs from that of package cpu's linear layers in its left operand: rows as they lie in memory, because softmax makes
// and uses rows. The right operand is a panel as everywhere, the chain is the same.
type attnKernels struct {
	mr   int // rows of a tile at most
	size int // bytes of an element of A: 2 if bf16 is multiplied as such, else 4, rounded to BF16 where the cache is
	// matmul: c[rows][32] = a[rows][steps] b[steps][32], from c if chain; lda and ldc are in bytes.
	matmul func(rows, steps int, a unsafe.Pointer, lda int, b unsafe.Pointer, c unsafe.Pointer, ldc int, chain bool)
	// pack makes a row of A from x, zeros beyond it.
	pack func(a unsafe.Pointer, n int, x []float32)
	// softmax makes p = exp(scale*s - m), m the largest scale*s, of the scores s, rounded to A's elements, with zeros in p[len(s):n],
	// and returns m and the sum (16 lanes) of the unrounded p. s is overwritten.
	softmax func(p unsafe.Pointer, n int, s []float32, scale float32) (m, sum float32)
	// fold: o = o*old + part*new.
	fold func(o, part []float32, old, new float32)
	// divide: y = o / by.
	divide func(y, o []float32, by float32)
	// probs makes p = exp(scale*s - lse) and ds = scale*p*(dp - delta) of a row, in place of s and dp.
	probs func(s, dp []float32, scale, lse, delta float32)
}

var attnPlainF32 = attnKernels{
	mr: 4, size: 4, matmul: matmulF32, pack: packF32, softmax: softmaxF32, fold: fold2, divide: divide, probs: probs,
}

var attnPlainBF16 = attnKernels{
	mr: 4, size: 4, matmul: matmulBF16, pack: packWide, softmax: softmaxWide, fold: fold2, divide: divide, probs: probs,
}

// attn returns the loops for a cache of type t.
func (d *Device) attn(t kernels.DType) *attnKernels { return attnOf(d.isa, t) }

func matmulF32(rows, steps int, a unsafe.Pointer, lda int, b, c unsafe.Pointer, ldc int, chain bool) {
	for i := range rows {
		y := at[[panelCols]float32](c, i*ldc)
		if !chain {
			clear(y[:])
		}
		for s := range steps {
			x := *at[float32](a, i*lda+4*s)
			for j, w := range at[[panelCols]float32](b, 4*panelCols*s) {
				y[j] = num.FMA32(x, w, y[j])
			}
		}
	}
}

// matmulBF16: see tileBF16.
func matmulBF16(rows, steps int, a unsafe.Pointer, lda int, b, c unsafe.Pointer, ldc int, chain bool) {
	for i := range rows {
		y := at[[panelCols]float32](c, i*ldc)
		if !chain {
			clear(y[:])
		}
		for s := range steps {
			x := at[[2]float32](a, i*lda+8*s)
			for j, u := range at[[panelCols]uint32](b, 4*panelCols*s) {
				v := float32(x[1]*float(u&0xffff0000)) + y[j]
				y[j] = float32(x[0]*float(u<<16)) + v
			}
		}
	}
}

func packF32(a unsafe.Pointer, n int, x []float32) {
	y := unsafe.Slice((*float32)(a), n)
	clear(y[copy(y, x):])
}

func packWide(a unsafe.Pointer, n int, x []float32) {
	y := unsafe.Slice((*float32)(a), n)
	num.RoundBF16Slice(y[:len(x)], x)
	clear(y[len(x):])
}

func softmaxF32(p unsafe.Pointer, n int, s []float32, scale float32) (m, sum float32) {
	for i := range s {
		s[i] *= scale
	}
	m = maximum(s)
	var a lanes16
	for i, x := range s {
		s[i] = exp(x - m)
		a[i%16] += s[i]
	}
	packF32(p, n, s)
	return m, a.sum()
}

func softmaxWide(p unsafe.Pointer, n int, s []float32, scale float32) (m, sum float32) {
	m, sum = softmaxF32(unsafe.Pointer(unsafe.SliceData(s)), len(s), s, scale)
	packWide(p, n, s)
	return m, sum
}

// maximum is the largest element that is a number, -Inf if there is none.
func maximum(x []float32) float32 {
	m := negInf
	for _, v := range x {
		if v > m {
			m = v
		}
	}
	return m
}

var negInf = float(0xff800000)

// words sees float32 as the words of a panel.
func words(x []float32) []uint32 { return unsafe.Slice((*uint32)(ptr(x)), len(x)) }

func fold2(o, part []float32, old, new float32) {
	for i, x := range part {
		o[i] = float32(o[i]*old) + float32(x*new)
	}
}

func divide(y, o []float32, by float32) {
	for i, x := range o {
		y[i] = x / by
	}
}

func probs(s, dp []float32, scale, lse, delta float32) {
	for i, x := range s {
		p := exp(float32(x*scale) - lse)
		s[i], dp[i] = p, scale*p*(dp[i]-delta)
	}
}
