package num

import "math"

// Widening a byte is one load from a table of 1 KiB.
var e4m3, e5m2, e8m0 = tables()

func tables() (t4, t5, t8 [256]float32) {
	for i := range 256 {
		b := uint8(i)
		sign, a := uint32(b&0x80)<<24, uint32(b&0x7f)
		t4[i] = math.Float32frombits(sign|a<<20) * 0x1p120 // as in F32FromF16: 120 = 127 - 7
		if a == 0x7f {
			t4[i] = math.Float32frombits(sign | 0x7fc00000)
		}
		t5[i] = F32FromF16(uint16(b) << 8)
		t8[i] = float32(math.Ldexp(1, i-127)) // 2^-127 is a float32 subnormal
	}
	t8[0xff] = math.Float32frombits(0x7fc00000)
	return t4, t5, t8
}

// F32FromE4M3 returns the value of the 8-bit float b: 4 exponent bits with bias 7, no infinities ("E4M3fn").
func F32FromE4M3(b uint8) float32 { return e4m3[b] }

// F32FromE5M2 returns the value of the 8-bit float b: 5 exponent bits with bias 15.
func F32FromE5M2(b uint8) float32 { return e5m2[b] }

// F32FromE8M0 returns 2^(b-127), the scale b of an MX block; 0xff is NaN.
func F32FromE8M0(b uint8) float32 { return e8m0[b] }

// WidenE4M3 stores the E4M3 values src [n] as float32 in dst [n].
func WidenE4M3(dst []float32, src []uint8) { widen8("WidenE4M3", &e4m3, dst, src) }

// WidenE5M2 stores the E5M2 values src [n] as float32 in dst [n].
func WidenE5M2(dst []float32, src []uint8) { widen8("WidenE5M2", &e5m2, dst, src) }

// WidenE8M0 stores the E8M0 scales src [n] as float32 in dst [n].
func WidenE8M0(dst []float32, src []uint8) { widen8("WidenE8M0", &e8m0, dst, src) }

func widen8(op string, table *[256]float32, dst []float32, src []uint8) {
	sameLen(op, len(dst), len(src))
	dst = dst[:len(src)]
	for i, b := range src {
		dst[i] = table[b]
	}
}
