package num

import "math"

// BlockAMX is the number of products that one TDPBF16PS instruction adds to each element.
const BlockAMX = 32

// DotAMX returns c + sum_i a[i]*b[i] in the order of TDPBF16PS (Intel SDM volume 2) on blocks of 32 k, the last one
// padded with zeros. a and b hold BF16 numbers. For each block:
//
//	even = fma(a[i], b[i], even), i = 0, 2 ... 30, and odd = fma(a[i], b[i], odd), i = 1, 3 ... 31, both from +0
//	c = c + (even + odd)
//
// Every step rounds to nearest even; subnormal operands, sums and results count as zeros of their sign.
func DotAMX(c float32, a, b []float32) float32 {
	for len(a) > 0 {
		n := min(BlockAMX, len(a))
		var sum [2]float32
		for i := range n {
			sum[i%2] = FlushF32(FMA32(FlushF32(a[i]), FlushF32(b[i]), sum[i%2]))
		}
		c = FlushF32(FlushF32(c) + FlushF32(sum[0]+sum[1]))
		a, b = a[n:], b[n:]
	}
	return c
}

// FlushF32 replaces a subnormal by zero of the same sign.
func FlushF32(x float32) float32 {
	if math.Abs(float64(x)) < 0x1p-126 {
		return float32(math.Copysign(0, float64(x)))
	}
	return x
}
