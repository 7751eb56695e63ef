package cpu

import (
	"math"

	"github.com/zerosearch-go/zerosearch/num"
)

// Every function in this file gives the same bits on every path: the assembly does the same operations in the same
// order. A product in a sum is written float32(a*b) + c, which forbids the compiler to fuse the two operations.

// The exponential function: x = n ln 2 + r with |r| <= ln(2)/2, e^x = 2^n e^r, where e^r is 1 + r + a polynomial of
// degree 6 whose largest relative error (Remez) is 2^-28. The result is off by less than 0.9 units in the last place,
// also where it is denormal.
const (
	expLeast  = -104.0 // e^x rounds to 0
	expMost   = 89.0   // e^x rounds to +Inf
	expLog2e  = 0x1.715476p+0
	expRound  = 0x1.8p+23 // adding it leaves an integer in the low bits
	expLn2Hi  = 0x1.62e4p-1
	expLn2Lo  = 0x1.7f7d1cp-20
	expC2     = 0x1.fffffcp-2
	expC3     = 0x1.555492p-3
	expC4     = 0x1.5558f2p-5
	expC5     = 0x1.1239f2p-7
	expC6     = 0x1.6a241ap-10
	expBiased = 0x4b400000 // bits of expRound
)

// exp is e^x.
func exp(x float32) float32 {
	if x < expLeast {
		x = expLeast
	}
	if x > expMost {
		x = expMost
	}
	t := num.FMA32(x, expLog2e, expRound)
	n := t - expRound
	r := num.FMA32(n, -expLn2Lo, num.FMA32(n, -expLn2Hi, x))
	p := float32(expC6)
	for _, c := range [...]float32{expC5, expC4, expC3, expC2, 1, 1} {
		p = num.FMA32(p, r, c)
	}
	// In two steps, because 2^n may be out of range where p*2^n is not. The first is exact. A NaN stays one whatever i
	// is.
	i := int32(bits(t) - expBiased)
	h := i >> 1
	return p * float(uint32(h+127)<<23) * float(uint32(i-h+127)<<23)
}

// exps: y = e^x.
func exps(y, x []float32) {
	for i, v := range x {
		y[i] = exp(v)
	}
}

// sigmoid is 1/(1+e^-x).
func sigmoid(x float32) float32 { return 1 / (1 + exp(-x)) }

// ln is the natural logarithm of x > 0 in float64, the same on every machine (math.Log is not): ln(2^k m) = k ln 2 + 2
// artanh s with s = (m-1)/(m+1), |s| <= 0.172, whose series is cut where a term is below 2^-53.
func ln(x float64) float64 {
	if !(x > 0) || x > math.MaxFloat64 {
		return math.Log(x)
	}
	m, k := math.Frexp(x)
	if m < math.Sqrt2/2 {
		m, k = 2*m, k-1
	}
	s := (m - 1) / (m + 1)
	q := float64(s * s)
	sum := 0.0
	for _, c := range [...]float64{1. / 21, 1. / 19, 1. / 17, 1. / 15, 1. / 13, 1. / 11, 1. / 9, 1. / 7, 1. / 5, 1. / 3,
		1} {
		sum = float64(sum*q) + c
	}
	return float64(float64(k)*math.Ln2) + float64(2*s*sum)
}

// A sum over a row is taken by lanes: element j goes to lane j mod n, ascending, and then the upper half of the lanes
// is added to the lower half until one is left. Sums that are limited by memory bandwidth use 64 lanes; sums beside
// other arithmetic use 16.
type (
	lanes64 [64]float32
	lanes16 [16]float32
)

func (a *lanes64) sum() float32 { return fold(a[:]) }
func (a *lanes16) sum() float32 { return fold(a[:]) }

// fold destroys a.
func fold(a []float32) float32 {
	for len(a) > 1 {
		h := len(a) / 2
		for i := range h {
			a[i] += a[h+i]
		}
		a = a[:h]
	}
	return a[0]
}
