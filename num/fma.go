package num

import "math"

// FMA32 returns a*b + c with one rounding, as a processor's fused multiply-add of float32 does, denormals included.
//
// The product of two float32 is exact in float64; the sum s is not, and rounding s again, to float32, goes wrong only
// where s fell on the midpoint of two neighbouring float32: the true sum may lie a little to one side of it. Midpoints
// are rare, so the rest is done by the processor.
func FMA32(a, b, c float32) float32 {
	s := float64(float64(a)*float64(b)) + float64(c)
	if math.Float64bits(s)&0x1fffffff != 0x10000000 && math.Abs(s) >= 0x1p-126 {
		return float32(s)
	}
	return fmaMidpoint(a, b, c)
}

// fmaMidpoint is FMA32 without the shortcut, which does not see the midpoints of denormals. The sum in float64 is
// rounded to odd (Boldo and Melquiond, "Emulation of FMA and Correctly Rounded Sums", IEEE Transactions on Computers
// 2008): an inexact sum gets an odd last bit, which no midpoint has.
func fmaMidpoint(a, b, c float32) float32 {
	p, z := float64(a)*float64(b), float64(c)
	s := p + z
	// TwoSum (Knuth): s + e == p + z exactly, unless something is infinite or NaN, and then s is the answer. The only
	// product is exact, so it does no harm if the compiler fuses it.
	v := s - p
	e := (p - (s - v)) + (z - v)
	bits := math.Float64bits(s)
	if e == 0 || e != e || bits&1 == 1 {
		return float32(s)
	}
	if (e > 0) == (s > 0) { // s is even and not exact: take its odd neighbour on the side of e
		bits++
	} else {
		bits--
	}
	return float32(math.Float64frombits(bits))
}
