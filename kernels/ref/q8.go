package ref

import (
	"math"

	"github.com/zerosearch-go/zerosearch/num"
)

// groupSize is the number of elements along k that share a scale.
const groupSize = 32

// tiny is the size below which a group of activations counts as zeros: its inverse scale would overflow.
const tiny = 0x1p-100

// groups is a row in 8 bits, or in 4 that were made 8: element k is q[k] * scale[k/32].
type groups struct {
	q     []int32 // in [-127, 127]
	scale []float32
}

func newGroups(k int) groups {
	return groups{q: make([]int32, k), scale: make([]float32, (k+groupSize-1)/groupSize)}
}

// part is the elements of group i.
func part[E any](x []E, i int) []E { return x[i*groupSize : min(len(x), (i+1)*groupSize)] }

// largestOf is the largest magnitude, NaN if any element is.
func largestOf(x []float32) (a float32) {
	for _, v := range x {
		a = max(a, float32(math.Abs(float64(v))))
	}
	return a
}

// sumsOfPairs is x[k] + x[k+1] for even k.
func sumsOfPairs(x []float32) (sums []float32) {
	for k := 0; k+1 < len(x); k += 2 {
		sums = append(sums, x[k]+x[k+1])
	}
	return sums
}

// quantizeWeight rounds a row of a weight, all steps in F32:
//
//	scale = f16(max|w| / 127), q = nearest even of w/scale, clamped; 0 where that is no number
func quantizeWeight(w []float32) groups {
	g := newGroups(len(w))
	for i := range g.scale {
		g.scale[i] = num.RoundF16(largestOf(part(w, i)) / 127)
		for j, v := range part(w, i) {
			if q := math.RoundToEven(float64(v / g.scale[i])); q == q && g.scale[i] != 0 {
				part(g.q, i)[j] = int32(max(-127, min(127, q)))
			}
		}
	}
	return g
}

// quantizeWeight4 rounds a row of a weight to Q4, as num.QuantizeQ4 defines it: element k is (8*q - zero) * step/8.
func quantizeWeight4(w []float32) groups {
	g := newGroups(len(w))
	for i := range g.scale {
		var q [groupSize]uint8
		x := part(w, i)
		g.set4(i, num.QuantizeQ4(q[:len(x)], x), q[:])
	}
	return g
}

// set4 sets group i from a head and q of Q4.
func (g groups) set4(i int, head uint16, q []uint8) {
	g.scale[i] = num.StepQ4(head) / 8
	for j := range part(g.q, i) {
		part(g.q, i)[j] = 8*int32(q[j]) - int32(num.ZeroQ4(head))
	}
}

// quantize rounds a row of activations, all steps in F32, with a the largest |x[k]| and |x[k] + x[k+1]|, k even:
//
//	scale = a/127, q = nearest even of x * (127/a); 0 for a tiny group; scale NaN, q = 0 where a is infinite or NaN
func quantize(x []float32) groups {
	g := newGroups(len(x))
	for i := range g.scale {
		a := max(largestOf(part(x, i)), largestOf(sumsOfPairs(part(x, i))))
		switch {
		case a < tiny:
		case a != a || math.IsInf(float64(a), 0):
			g.scale[i] = float32(math.NaN())
		default:
			g.scale[i] = a / 127
			for j, v := range part(x, i) {
				part(g.q, i)[j] = int32(math.RoundToEven(float64(float32(v * float32(127/a)))))
			}
		}
	}
	return g
}

// dot = chain over groups, ascending: c = fma(sum_k qx*qw * sx, sw, c). The sum is exact, its product with sx is
// rounded.
func (g groups) dot(w groups) float32 {
	var c float32
	for i := range g.scale {
		var sum int32
		for j, q := range part(g.q, i) {
			sum += q * part(w.q, i)[j]
		}
		c = num.FMA32(float32(float32(sum)*g.scale[i]), w.scale[i], c)
	}
	return c
}

func (g groups) widen() []float32 {
	x := make([]float32, len(g.q))
	for k, q := range g.q {
		x[k] = float32(q) * g.scale[k/groupSize]
	}
	return x
}
