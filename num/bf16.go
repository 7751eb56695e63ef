package num

import "math"

// BF16FromF32 returns the bits of the bfloat16 nearest to x.
func BF16FromF32(x float32) uint16 {
	b := math.Float32bits(x)
	if b&0x7fffffff > 0x7f800000 {
		return uint16(b>>16) | 0x0040 // a payload in the lower half only must not become infinity
	}
	// Half of the last kept place less one, plus one if that place is odd: carries exactly when nearest-even rounds up,
	// into the exponent and to infinity where need be.
	return uint16((b + 0x7fff + b>>16&1) >> 16)
}

// F32FromBF16 returns the value of the bfloat16 with bits h.
func F32FromBF16(h uint16) float32 { return math.Float32frombits(uint32(h) << 16) }

// RoundBF16 returns x rounded to the nearest bfloat16.
func RoundBF16(x float32) float32 { return F32FromBF16(BF16FromF32(x)) }

// BF16Slice stores src [n] as bfloat16 bits in dst [n].
func BF16Slice(dst []uint16, src []float32) {
	sameLen("BF16Slice", len(dst), len(src))
	dst = dst[:len(src)] // lets the compiler drop the bounds check
	for i, x := range src {
		dst[i] = BF16FromF32(x)
	}
}

// WidenBF16 stores the bfloat16 values src [n] as float32 in dst [n].
func WidenBF16(dst []float32, src []uint16) {
	sameLen("WidenBF16", len(dst), len(src))
	dst = dst[:len(src)]
	for i, h := range src {
		dst[i] = F32FromBF16(h)
	}
}

// RoundBF16Slice stores src [n] rounded to bfloat16 in dst [n]; dst may be src.
func RoundBF16Slice(dst, src []float32) {
	sameLen("RoundBF16Slice", len(dst), len(src))
	dst = dst[:len(src)]
	for i, x := range src {
		dst[i] = RoundBF16(x)
	}
}
