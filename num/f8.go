package num

import "math"

// Widening a byte is one load from a table of 1 KiB.
var (
	e4m3     = table(func(b uint8) float32 { return f8(b, 3, 7) }, 0x7f, 0xff)
	e5m2     = table(func(b uint8) float32 { return F32FromF16(uint16(b) << 8) })
	e4m3fnuz = table(func(b uint8) float32 { return f8(b, 3, 8) }, 0x80)
	e5m2fnuz = table(func(b uint8) float32 { return f8(b, 2, 16) }, 0x80)
	e8m0     = table(func(b uint8) float32 { return float32(math.Ldexp(1, int(b)-127)) }, 0xff)
)

// table lists the value of every byte; those in nan are NaN.
func table(value func(uint8) float32, nan ...uint8) (t [256]float32) {
	for i := range t {
		t[i] = value(uint8(i))
	}
	for _, b := range nan {
		t[b] = float32(math.NaN())
	}
	return t
}

// f8 widens a byte of a sign, an exponent with the given bias and a mantissa of so many bits, in which all values are
// finite.
func f8(b uint8, mantissa, bias int) float32 {
	aligned := uint32(b&0x80)<<24 | uint32(b&0x7f)<<(23-mantissa)
	return math.Float32frombits(aligned) * float32(math.Ldexp(1, 127-bias)) // exact, as in F32FromF16
}

// F32FromE4M3 returns the value of the 8-bit float b: 4 exponent bits with bias 7, no infinities ("E4M3fn").
func F32FromE4M3(b uint8) float32 { return e4m3[b] }

// F32FromE5M2 returns the value of the 8-bit float b: 5 exponent bits with bias 15.
func F32FromE5M2(b uint8) float32 { return e5m2[b] }

// F32FromE4M3FNUZ returns the value of the 8-bit float b: as E4M3, but with bias 8, 0x80 the only NaN and no negative
// zero.
func F32FromE4M3FNUZ(b uint8) float32 { return e4m3fnuz[b] }

// F32FromE5M2FNUZ returns the value of the 8-bit float b: as E5M2, but with bias 16, 0x80 the only NaN and no
// infinities.
func F32FromE5M2FNUZ(b uint8) float32 { return e5m2fnuz[b] }

// F32FromE8M0 returns 2^(b-127), the scale b of an MX block; 0xff is NaN.
func F32FromE8M0(b uint8) float32 { return e8m0[b] }

// WidenE4M3 stores the E4M3 values src [n] as float32 in dst [n].
func WidenE4M3(dst []float32, src []uint8) { widen8("WidenE4M3", &e4m3, dst, src) }

// WidenE5M2 stores the E5M2 values src [n] as float32 in dst [n].
func WidenE5M2(dst []float32, src []uint8) { widen8("WidenE5M2", &e5m2, dst, src) }

// WidenE4M3FNUZ stores the E4M3FNUZ values src [n] as float32 in dst [n].
func WidenE4M3FNUZ(dst []float32, src []uint8) { widen8("WidenE4M3FNUZ", &e4m3fnuz, dst, src) }

// WidenE5M2FNUZ stores the E5M2FNUZ values src [n] as float32 in dst [n].
func WidenE5M2FNUZ(dst []float32, src []uint8) { widen8("WidenE5M2FNUZ", &e5m2fnuz, dst, src) }

// WidenE8M0 stores the E8M0 scales src [n] as float32 in dst [n].
func WidenE8M0(dst []float32, src []uint8) { widen8("WidenE8M0", &e8m0, dst, src) }

func widen8(op string, table *[256]float32, dst []float32, src []uint8) {
	sameLen(op, len(dst), len(src))
	dst = dst[:len(src)]
	for i, b := range src {
		dst[i] = table[b]
	}
}
