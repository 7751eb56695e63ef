package num

import "math"

// FMA32 returns a*b + c with one rounding, as a processor's fused multiply-add of float32 does, denormals included.
//
// The product of two float32 is exact in float64. The sum is not, and rounding it twice, to float64 and then to float32, can
// go wrong where the first rounding lands on the midpoint of two float32. So the first one rounds to odd (Boldo and Melquiond,
// "Emulation of FMA and correctly rounded sums", IEEE TC 2008): an inexact sum gets an odd last bit, which no midpoint has.
func FMA32(a, b, c float32) float32 {
	p, z := float64(a)*float64(b), float64(c)
	s := float64(p + z)
	// TwoSum (Knuth): s + e == p + z exactly, unless something is infinite or NaN, and then s is the answer.
	// The conversions forbid the compiler to fuse.
	v := float64(s - p)
	e := float64(p-float64(s-v)) + float64(z-v)
	bits := math.Float64bits(s)
	if e == 0 || e != e || bits&1 == 1 {
		return float32(s)
	}
	// s is even and not exact: its odd neighbour on the side of e.
	if (e > 0) == (s > 0) {
		bits++
	} else {
		bits--
	}
	return float32(math.Float64frombits(bits))
}
