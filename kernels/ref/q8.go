package ref

import (
	"math"

	"github.com/zerosearch-go/zerosearch/num"
)

// groupSize is the number of elements along k that share a scale.
const groupSize = 32

// groups is a row in 8 bits: value k is scale[k/32] * q[k].
type groups struct {
	q     []int32 // in [-127, 127]
	scale []float32
}

// quantizeWeight rounds a row of a weight: scale = f16(max|x|/127), q = nearest even of x/scale.
func quantizeWeight(x []float32) groups { return toGroups(x, num.RoundF16) }

// quantize rounds a row of activations: scale = max|x|/127 in F32, q = nearest even of x/scale.
func quantize(x []float32) groups { return toGroups(x, func(s float32) float32 { return s }) }

func toGroups(x []float32, roundScale func(float32) float32) groups {
	g := groups{q: make([]int32, len(x)), scale: make([]float32, (len(x)+groupSize-1)/groupSize)}
	for i := range g.scale {
		part := x[i*groupSize : min(len(x), (i+1)*groupSize)]
		var largest float32
		for _, v := range part {
			largest = max(largest, float32(math.Abs(float64(v))))
		}
		g.scale[i] = roundScale(largest / 127)
		for j, v := range part {
			if g.scale[i] != 0 {
				q := math.RoundToEven(float64(v / g.scale[i]))
				g.q[i*groupSize+j] = int32(max(-127, min(127, q)))
			}
		}
	}
	return g
}

// dot = chain over groups of (sx*sw) * sum_k qx*qw, the integer sum being exact.
func (g groups) dot(w groups) float32 {
	var acc float32
	for i := range g.scale {
		var sum int32
		for k := i * groupSize; k < min(len(g.q), (i+1)*groupSize); k++ {
			sum += g.q[k] * w.q[k]
		}
		acc = num.FMA32(float32(sum), float32(g.scale[i]*w.scale[i]), acc)
	}
	return acc
}

func (g groups) widen() []float32 {
	x := make([]float32, len(g.q))
	for k, q := range g.q {
		x[k] = float32(q) * g.scale[k/groupSize]
	}
	return x
}
