package num

import "math"

// F16FromF32 returns the bits of the binary16 nearest to x.
func F16FromF32(x float32) uint16 {
	const (
		overflow  = 0x477ff000 // 65520, halfway between the largest binary16 and 2^16: from here on infinity
		minNormal = 0x38800000 // 2^-14
		rebias    = (127 - 15) << 23
	)
	b := math.Float32bits(x)
	sign, a := uint16(b>>16)&0x8000, b&0x7fffffff
	switch {
	case a > 0x7f800000:
		return sign | 0x7e00 | uint16(a>>13)&0x3ff
	case a >= overflow:
		return sign | 0x7c00
	case a < minNormal:
		// The float32s in [0.5, 1) lie 2^-24 apart, as binary16's subnormals do: adding 0.5 makes the processor round
		// there.
		return sign | uint16(math.Float32bits(math.Float32frombits(a)+0.5)-math.Float32bits(0.5))
	}
	a -= rebias
	return sign | uint16((a+0xfff+a>>13&1)>>13)
}

// F32FromF16 returns the value of the binary16 with bits h.
func F32FromF16(h uint16) float32 {
	sign, a := uint32(h&0x8000)<<16, uint32(h&0x7fff)
	if a >= 0x7c00 {
		return math.Float32frombits(sign | 0x7f800000 | a&0x3ff<<13)
	}
	// With the mantissas aligned only the exponent bias is wrong, also for subnormals; a power of two corrects it
	// exactly.
	return math.Float32frombits(sign|a<<13) * 0x1p112
}

// RoundF16 returns x rounded to the nearest binary16.
func RoundF16(x float32) float32 { return F32FromF16(F16FromF32(x)) }

// F16Slice stores src [n] as binary16 bits in dst [n].
func F16Slice(dst []uint16, src []float32) {
	sameLen("F16Slice", len(dst), len(src))
	dst = dst[:len(src)]
	for i, x := range src {
		dst[i] = F16FromF32(x)
	}
}

// WidenF16 stores the binary16 values src [n] as float32 in dst [n].
func WidenF16(dst []float32, src []uint16) {
	sameLen("WidenF16", len(dst), len(src))
	dst = dst[:len(src)]
	for i, h := range src {
		dst[i] = F32FromF16(h)
	}
}
