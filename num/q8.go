package num

import "math"

// Q8Group is the number of consecutive elements of a row that share a scale.
const Q8Group = 32

// QuantizeQ8 rounds a group x, at most Q8Group values, to 8 bits: element i is then about q[i] * scale, scale being an
// F16. All steps are float32, RNE is rounding to nearest with ties to even:
//
//	scale = f16(max|x| / 127)
//	q     = clamp(RNE(x / scale), -127, 127), 0 where that is no number
//
// q has the length of x.
func QuantizeQ8(q []int8, x []float32) (scale uint16) {
	scale = ScaleQ8(x)
	d := F32FromF16(scale)
	for i, v := range x {
		q[i] = roundQ8(v, d)
	}
	return scale
}

// ScaleQ8 is the scale that QuantizeQ8 gives x.
func ScaleQ8(x []float32) uint16 {
	most := uint32(0)
	for _, v := range x {
		most = max(most, math.Float32bits(v)&0x7fffffff) // NaN is the largest
	}
	return F16FromF32(math.Float32frombits(most) / 127)
}

func roundQ8(x, d float32) int8 {
	q := math.RoundToEven(float64(x / d))
	if d == 0 || q != q {
		return 0
	}
	return int8(min(max(q, -127), 127))
}
