package cpu

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// eachISA runs test on every path of this machine but plain Go, which is what they are compared with.
func eachISA(t *testing.T, test func(t *testing.T, i isa)) {
	for _, p := range Paths.List() {
		if i := isaNamed(p.Name); i != generic {
			t.Run(p.Name, func(t *testing.T) {
				if p.Missing != "" {
					t.Skipf("this machine has no %s", p.Missing)
				}
				test(t, i)
			})
		}
	}
}

// padded is a copy of x with canaries on both sides.
type padded struct{ all []float32 }

func pad(x []float32) padded {
	all := make([]float32, len(x)+40)
	for i := range all {
		all[i] = 12345
	}
	copy(all[20:], x)
	return padded{all}
}

func (p padded) in() []float32 { return p.all[20 : len(p.all)-20] }

// numbers are n normal ones and, if odd is set, special ones among them.
func numbers(r *rand.Rand, n int, odd bool) []float32 {
	special := []float32{0, negZero(), 1e-40, -1e-42, 1e38, -3e38, 88.5, -90, -104, 1000, float32(math.Inf(1)),
		float32(math.Inf(-1)), float32(math.NaN())}
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(r.NormFloat64() * 3)
		if odd && r.IntN(4) == 0 {
			x[i] = special[r.IntN(len(special))]
		}
	}
	return x
}

func negZero() float32 { return float(1 << 31) }

// sameFloats compares bits; NaN is NaN.
func sameFloats(t *testing.T, name string, want, got []float32) {
	t.Helper()
	for i := range want {
		if bits(want[i]) != bits(got[i]) && (want[i] == want[i] || got[i] == got[i]) {
			require.Failf(t, name, "element %d of %d is %v (%#08x), want %v (%#08x)", i, len(want), got[i],
				bits(got[i]), want[i], bits(want[i]))
		}
	}
}

// rowCase runs one kernel on slices of n elements, of which it may write all, and on four numbers; it returns numbers
// that it computed.
type rowCase struct {
	name   string
	slices int
	run    func(k *rowKernels, x [][]float32, a []float32) []float32
}

var rowCases = []rowCase{
	{"sumSquares", 1, func(k *rowKernels, x [][]float32, _ []float32) []float32 {
		return []float32{k.sumSquares(x[0])}
	}},
	{"dot", 2, func(k *rowKernels, x [][]float32, _ []float32) []float32 { return []float32{k.dot(x[0], x[1])} }},
	{"scaleRow", 3, func(k *rowKernels, x [][]float32, a []float32) []float32 {
		k.scaleRow(x[0], x[1], x[2], a[0])
		return nil
	}},
	{"normDot", 3, func(k *rowKernels, x [][]float32, _ []float32) []float32 {
		return []float32{k.normDot(x[0], x[1], x[2])}
	}},
	{"normBack", 4, func(k *rowKernels, x [][]float32, a []float32) []float32 {
		k.normBack(x[0], x[1], x[2], x[3], a[0], a[1])
		return nil
	}},
	{"normBackAdd", 4, func(k *rowKernels, x [][]float32, a []float32) []float32 {
		k.normBackAdd(x[0], x[1], x[2], x[3], a[0], a[1])
		return nil
	}},
	{"normWeight", 3, func(k *rowKernels, x [][]float32, a []float32) []float32 {
		k.normWeight(x[0], x[1], x[2], a[0])
		return nil
	}},
	{"rotate", 4, func(k *rowKernels, x [][]float32, _ []float32) []float32 {
		k.rotate(x[0], x[1], x[2], x[3])
		return nil
	}},
	{"rotateBack", 4, func(k *rowKernels, x [][]float32, _ []float32) []float32 {
		k.rotateBack(x[0], x[1], x[2], x[3])
		return nil
	}},
	{"swiglu", 3, func(k *rowKernels, x [][]float32, _ []float32) []float32 { k.swiglu(x[0], x[1], x[2]); return nil }},
	{"swigluBack", 5, func(k *rowKernels, x [][]float32, _ []float32) []float32 {
		k.swigluBack(x[0], x[1], x[2], x[3], x[4])
		return nil
	}},
	{"swigluBack in place", 3, func(k *rowKernels, x [][]float32, _ []float32) []float32 {
		k.swigluBack(x[0], x[1], x[2], x[0], x[1])
		return nil
	}},
	{"add", 2, func(k *rowKernels, x [][]float32, _ []float32) []float32 { k.add(x[0], x[1]); return nil }},
	{"axpy", 2, func(k *rowKernels, x [][]float32, a []float32) []float32 { k.axpy(x[0], x[1], a[0]); return nil }},
	{"narrow", 2, func(k *rowKernels, x [][]float32, _ []float32) []float32 {
		h := make([]uint16, len(x[0]))
		k.narrow(h, x[0])
		k.widen(x[1], h)
		return nil
	}},
	{"round", 2, func(k *rowKernels, x [][]float32, _ []float32) []float32 { k.round(x[0], x[1]); return nil }},
	{"sumSquares64", 1, func(k *rowKernels, x [][]float32, _ []float32) []float32 {
		b := math.Float64bits(k.sumSquares64(x[0]))
		return []float32{float(uint32(b)), float(uint32(b >> 32))}
	}},
	{"adamw", 4, func(k *rowKernels, x [][]float32, a []float32) []float32 {
		for i, v := range x[3] {
			x[3][i] = float32(math.Abs(float64(v)))
		}
		k.adamw(x[0], x[1], x[2], x[3], &adamwScalars{0.99, 0.9, 0.1, 0.95, 0.05, 1e-3, 0.3, 1e-8, a[0]})
		return nil
	}},
	{"maximum", 1, func(k *rowKernels, x [][]float32, _ []float32) []float32 { return []float32{k.maximum(x[0])} }},
	{"exps", 2, func(k *rowKernels, x [][]float32, _ []float32) []float32 { k.exps(x[0], x[1]); return nil }},
	{"scanExp", 1, func(k *rowKernels, x [][]float32, _ []float32) []float32 {
		sum, dot := k.scanExp(x[0], maximum(x[0]), 1)
		less, more := k.scanExp(x[0], maximum(x[0])*0.6, 0.6)
		return []float32{sum, dot, less, more}
	}},
	{"gradient", 2, func(k *rowKernels, x [][]float32, a []float32) []float32 {
		k.gradient(x[0], x[1], &logitGradient{a[0], a[1] + 5, a[2], a[3], 2})
		return nil
	}},
}

// TestRowKernels: every path gives the bits of plain Go, for every length, and writes nothing outside.
func TestRowKernels(t *testing.T) {
	eachISA(t, func(t *testing.T, i isa) {
		r := rand.New(rand.NewPCG(1, uint64(i)))
		for _, c := range rowCases {
			for n := range 180 {
				odd := n%3 == 2
				var want, got []padded
				for range c.slices {
					x := numbers(r, n, odd)
					want, got = append(want, pad(x)), append(got, pad(x))
				}
				a := numbers(r, 4, false)
				inner := func(p []padded) (s [][]float32) {
					for _, x := range p {
						s = append(s, x.in())
					}
					return s
				}
				name := fmt.Sprintf("%s of %d", c.name, n)
				sameFloats(t, name, c.run(&rowsPlain, inner(want), a), c.run(rowsOf(i), inner(got), a))
				for s := range want {
					sameFloats(t, fmt.Sprintf("%s, slice %d with 20 canaries on each side", name, s), want[s].all,
						got[s].all)
				}
			}
		}
	})
}

// TestExp: the exponential function against float64, over its whole range.
func TestExp(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 1 << 17 {
		x := float32(r.Float64()*195 - 105)
		want := math.Exp(float64(x))
		ulp := math.Max(0x1p-149, math.Ldexp(1, math.Ilogb(want)-23))
		if want > math.MaxFloat32 {
			require.Greater(t, exp(x), float32(math.MaxFloat32))
			continue
		}
		require.LessOrEqual(t, math.Abs(float64(exp(x))-want), 0.9*ulp, "exp(%v)", x)
	}
	require.Equal(t, float32(1), exp(0))
	require.Equal(t, float32(0), exp(negInf))
	require.Equal(t, float32(math.Inf(1)), exp(-negInf))
	require.True(t, math.IsNaN(float64(exp(float32(math.NaN())))))
}

// TestLn: the logarithm against math.Log, and its bits on values whose logarithms are known.
func TestLn(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 1 << 15 {
		x := math.Exp(r.Float64()*200 - 100)
		require.InDelta(t, math.Log(x), ln(x), 4e-16*math.Max(1, math.Abs(math.Log(x))), "ln(%v)", x)
	}
	require.Zero(t, ln(1))
	require.Equal(t, math.Ln2, ln(2))
	require.Equal(t, math.Inf(-1), ln(0))
	require.True(t, math.IsNaN(ln(-1)))
}
