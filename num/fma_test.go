package num

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// exactFMA rounds the exact sum once.
func exactFMA(a, b, c float32) float32 {
	r := func(x float32) *big.Rat { return new(big.Rat).SetFloat64(float64(x)) }
	p := new(big.Rat).Mul(r(a), r(b))
	s, _ := p.Add(p, r(c)).Float32()
	return s
}

func checkFMA(t require.TestingT, a, b, c float32) {
	got := FMA32(a, b, c)
	if want := float64(a)*float64(b) + float64(c); math.IsNaN(want) || math.IsInf(want, 0) {
		require.True(t, float64(got) == want || got != got &&
			math.IsNaN(want), "fma(%v, %v, %v) = %v, want %v", a, b, c, got, want)
		return
	}
	want := exactFMA(a, b, c)
	if want == 0 && got == 0 {
		return // a Rat has no sign of zero
	}
	require.Equal(t, math.Float32bits(want), math.Float32bits(got), "fma(%x, %x, %x)", a, b, c)
}

func TestFMA32(t *testing.T) {
	inf := float32(math.Inf(1))
	for _, x := range [][3]float32{{0, 1, 2}, {inf, 0, 1}, {inf, 1, 1}, {inf, 1, -inf},
		{math.MaxFloat32, 2, -math.MaxFloat32}, {1, 1, -1}} {
		checkFMA(t, x[0], x[1], x[2])
	}
	rapid.Check(t, func(r *rapid.T) {
		f := func(name string) float32 { return math.Float32frombits(rapid.Uint32().Draw(r, name)) }
		checkFMA(t, f("a"), f("b"), f("c"))
	})
}

// TestFMA32Midpoints builds sums that lie next to the midpoint of two float32, in the normal range and among denormals:
// where rounding to float64 first goes wrong. How often it would have is counted, so that the test cannot lose its
// subject.
func TestFMA32Midpoints(t *testing.T) {
	r, twice := rand.New(rand.NewPCG(1, 2)), 0
	for range 20000 {
		scale := math.Ldexp(1, r.IntN(60)-30)
		if r.IntN(3) == 0 {
			scale = 0x1p-126
		}
		c := float32(scale * (1 + float64(r.IntN(1<<23))/(1<<23)))
		// a*b is this half, give or take far less than float64 resolves
		half := float64(math.Nextafter32(c, inf32)-c) / 2
		a := float32(1 + float64(r.IntN(8))/8)
		b := float32(half / float64(a))
		if r.IntN(2) == 0 {
			a, b = 1+0x1p-23, float32(half*(1-0x1p-23))
		}
		checkFMA(t, a, b, c)
		checkFMA(t, -a, b, c)
		if float32(float64(a)*float64(b)+float64(c)) != exactFMA(a, b, c) {
			twice++
		}
	}
	require.Positive(t, twice, "no sum that two roundings get wrong")
}

var inf32 = float32(math.Inf(1))
