// Package num converts between float32 and the narrow floats that weights are stored in.
//
//	format  sign exponent mantissa  largest  special
//	BF16    1    8        7         3.39e38  as float32, of which it is the upper half
//	F16     1    5        10        65504    IEEE 754 binary16
//	E4M3    1    4        3         448      "fn": no infinities, 0x7f and 0xff are NaN
//	E5M2    1    5        2         57344    infinities and NaN; it is the upper half of F16
//	FNUZ                                     E4M3FNUZ (to 240) and E5M2FNUZ: bias one more, 0x80 the only NaN
//	E8M0    0    8        0         2^127    powers of two only, 0xff is NaN; the scales of MX formats
//
// Narrow values travel as their bits (uint16, uint8). Widening is exact. Narrowing rounds to the nearest value, ties to
// the one with an even mantissa, overflows to infinity, keeps subnormals and the sign of zero, and turns every NaN into
// a quiet NaN of the same sign; this is what PyTorch and IEEE 754 hardware do.
//
// The slice functions convert element by element and panic when the two lengths differ. They are safe for concurrent
// use.
//
// Sources: IEEE 754-2019; Micikevicius et al., "FP8 Formats for Deep Learning" (arXiv:2209.05433) for E4M3 and E5M2;
// OCP Microscaling Formats (MX) v1.0 for E8M0.
package num

import "fmt"

// sameLen panics when a slice function is handed slices of different lengths.
func sameLen(op string, dst, src int) {
	if dst != src {
		panic(fmt.Sprintf("num: %s: dst has %d elements, src has %d", op, dst, src))
	}
}
