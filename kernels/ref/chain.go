package ref

import (
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/num"
)

// round rounds x to the operand type t.
func round(t kernels.DType, x float32) float32 {
	if t == kernels.BF16 {
		return num.RoundBF16(x)
	}
	return x
}

// rounded is a copy of x rounded to t.
func rounded(t kernels.DType, x []float32) []float32 {
	y := make([]float32, len(x))
	for i := range x {
		y[i] = round(t, x[i])
	}
	return y
}

// chain returns acc + sum_i a[i]*b[i] by the chain of package kernels. a and b are rounded to t already.
//
//	F32:  acc = fma(a[i], b[i], acc), i ascending
//	BF16: acc = fma(a[i+1], b[i+1], acc), then acc = fma(a[i], b[i], acc), i = 0, 2, 4 ...; beyond the end a and b are 0.
//	      Subnormal operands, sums and results count as zeros of their sign (VDPBF16PS, Intel SDM volume 2).
func chain(t kernels.DType, acc float32, a, b []float32) float32 {
	if t == kernels.F32 {
		for i := range a {
			acc = num.FMA32(a[i], b[i], acc)
		}
		return acc
	}
	at := func(x []float32, i int) float32 {
		if i < len(x) {
			return x[i]
		}
		return 0
	}
	for i := 0; i < len(a); i += 2 {
		acc = flushedFMA(at(a, i+1), at(b, i+1), acc)
		acc = flushedFMA(at(a, i), at(b, i), acc)
	}
	return acc
}

// chainAMX is chain, of BF16 in the order of num.DotAMX.
func chainAMX(t kernels.DType, acc float32, a, b []float32) float32 {
	if t == kernels.BF16 {
		return num.DotAMX(acc, a, b)
	}
	return chain(t, acc, a, b)
}

func flushedFMA(x, y, z float32) float32 {
	return num.FlushF32(num.FMA32(num.FlushF32(x), num.FlushF32(y), num.FlushF32(z)))
}
