package num

import "math"

// Q4Group is the number of consecutive elements of a row that share a head.
const Q4Group = 32

// Q4 holds a group of 32 weights as 32 values q in [0, 15] and a head of 16 bits:
//
//	weight = (8*q - zero) * step/8      zero = head & 127,  step = the F16 of the bits head>>7<<6
//
// so a step has 5 bits of exponent and 4 of mantissa and is never negative; 8*q - zero is within [-127, 120].
const (
	q4Zeros  = 1<<7 - 1
	q4Least  = 1     // the code head>>7 of the smallest step that is not 0
	q4Most   = 0x1ef // and of the largest finite one
	q4Codes  = 10    // steps that QuantizeQ4 tries
	q4Around = 8     // and zeros for each
	// Q4NotFinite is the head of a group with a value that is not finite: its step is infinite, products are NaN.
	Q4NotFinite = 0xf800
)

// StepQ4 is the step of a head: the distance of two neighbouring weights.
func StepQ4(head uint16) float32 { return F32FromF16(head >> 7 << 6) }

// ZeroQ4 is the zero of a head, in eighths of a step: the weight of q = 0 is -zero/8 steps.
func ZeroQ4(head uint16) int { return int(head & q4Zeros) }

// QuantizeQ4 rounds a group x, at most Q4Group values, to 4 bits. It tries 10 steps with 8 zeros each and keeps the
// pair with the least sum of squared errors, the first of several. All operations are float32, from left to right, RNE
// is rounding to nearest with ties to even:
//
//	lo = min(0, x...), hi = max(0, x...)            lo = hi: head 0, all q = 0; a value that is not finite: Q4NotFinite
//	first = clamp((bits of f16((hi - lo) / 15) + 63) >> 6, 1, 0x1ef)
//	for code = first, first-1, ..., first-9, but not below 1:
//	    step = f16 of the bits code<<6,  inverse = 1 / step
//	    base = clamp(RNE(8 * (7.5 - (lo + hi) * 0.5 * inverse)) - 3, 0, 120)
//	    for zero = base, base+1, ..., base+7:
//	        t = x * inverse + zero / 8,  q = RNE(clamp(t, 0, 15)),  e = t - q
//	        error = (the sum of e * e in the order of x) * step * step
//
// q has the length of x.
func QuantizeQ4(q []uint8, x []float32) (head uint16) { return QuantizeQ4With(q, x, UsualQ4Errors) }

// UsualQ4Errors is the search of QuantizeQ4: plain Go, or what a package with assembly sets in its init.
var UsualQ4Errors Q4Errors = PlainQ4Errors

// Q4Errors is two steps of the search of QuantizeQ4: sums[s][i] is the sum of e*e over x for the inverse s and the zero
// zeros[s][i]/8.
type Q4Errors func(sums *[2][q4Around]float32, x []float32, inverse *[2]float32, zeros *[2][q4Around]float32)

// QuantizeQ4With is QuantizeQ4 with another implementation of its search, which gives the same bits.
func QuantizeQ4With(q []uint8, x []float32, errors Q4Errors) (head uint16) {
	var lo, hi float32
	most := uint32(0)
	for _, v := range x {
		most = max(most, math.Float32bits(v)&0x7fffffff)
		if v < lo {
			lo = v
		}
		if v > hi {
			hi = v
		}
	}
	if most == 0 || most >= 0x7f800000 {
		clear(q)
		if most == 0 {
			return 0
		}
		return Q4NotFinite
	}
	head = searchQ4(x, lo, hi, errors)
	inverse, zero := 1/StepQ4(head), float32(ZeroQ4(head))/8
	for i, v := range x {
		q[i] = uint8(roundQ4(float32(v*inverse) + zero))
	}
	return head
}

// searchQ4 returns the best head for x.
func searchQ4(x []float32, lo, hi float32, errors Q4Errors) (head uint16) {
	first := min(max((int(F16FromF32((hi-lo)/15))+63)>>6, q4Least), q4Most)
	least := float32(math.Inf(1))
	var sums, zeros [2][q4Around]float32
	var inverse [2]float32
	for code := first; code > first-q4Codes && code >= q4Least; code -= 2 {
		var base [2]int
		for s := range base {
			inverse[s] = 1 / F32FromF16(uint16(max(code-s, q4Least)<<6))
			middle := float32(float32(float32(lo+hi)*0.5) * inverse[s])
			base[s] = int(min(max(roundEven(8*float32(7.5-middle))-3, 0), q4Zeros+1-q4Around))
			for i := range q4Around {
				zeros[s][i] = float32(base[s]+i) / 8
			}
		}
		errors(&sums, x, &inverse, &zeros)
		for s := 0; s < 2 && code-s >= q4Least; s++ {
			step := F32FromF16(uint16((code - s) << 6))
			for i, e := range sums[s] {
				if e = float32(e*step) * step; e < least || head == 0 {
					least, head = e, uint16((code-s)<<7|base[s]+i)
				}
			}
		}
	}
	return head
}

// PlainQ4Errors is a Q4Errors in plain Go.
func PlainQ4Errors(sums *[2][q4Around]float32, x []float32, inverse *[2]float32, zeros *[2][q4Around]float32) {
	for s := range sums {
		for i, zero := range zeros[s] {
			sum := float32(0)
			for _, v := range x {
				t := float32(v*inverse[s]) + zero
				e := t - roundQ4(t)
				sum += float32(e * e)
			}
			sums[s][i] = sum
		}
	}
}

// roundQ4 is RNE of t within [0, 15].
func roundQ4(t float32) float32 {
	switch {
	case t < 0:
		return 0
	case t > 15:
		return 15
	}
	return roundEven(t)
}

// roundEven is RNE of a number below 2^22 in magnitude; of a larger one it is a number near it.
func roundEven(x float32) float32 {
	const shift = 0x1.8p23
	return float32(x+shift) - shift
}
