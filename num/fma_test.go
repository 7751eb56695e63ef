package num

import (
	"math"
	"math/big"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// exactFMA rounds the exact value once, by arithmetic on big numbers.
func exactFMA(x, y, z float32) float32 {
	f := func(v float32) *big.Float { return new(big.Float).SetPrec(2000).SetFloat64(float64(v)) }
	p := f(x)
	p.Mul(p, f(y)).Add(p, f(z))
	r, _ := p.Float32()
	return r
}

func checkFMA(t require.TestingT, x, y, z float32) {
	want, got := exactFMA(x, y, z), FMA32(x, y, z)
	if want == 0 { // big.Float's signed zeros follow other rules than a sum's
		require.Zero(t, got, "FMA32(%g, %g, %g)", x, y, z)
		return
	}
	require.Equal(t, math.Float32bits(want), math.Float32bits(got), "FMA32(%g, %g, %g) = %g, want %g", x, y, z, got, want)
}

func TestFMA32(t *testing.T) {
	// x*y is halfway between two float32s; only z, far below float64's last place, says which one: rounding twice goes wrong.
	x, z := float32(1+0x1p-12), float32(0x1p-80)
	up, down := float32(1+0x1p-11+0x1p-23), float32(1+0x1p-11)
	require.Equal(t, up, FMA32(x, x, z))
	require.Equal(t, down, FMA32(x, x, -z))
	require.Equal(t, -up, FMA32(-x, x, -z))
	require.Equal(t, down, float32(float64(x)*float64(x)+float64(z)), "the sum in float64 does not see z")

	inf := float32(math.Inf(1))
	require.Equal(t, inf, FMA32(inf, 1, 1))
	require.Equal(t, inf, FMA32(math.MaxFloat32, math.MaxFloat32, 1), "overflow")
	require.True(t, isNaN(FMA32(inf, 0, 1)))
	require.True(t, isNaN(FMA32(inf, 1, -inf)))
	require.True(t, isNaN(FMA32(1, 1, float32(math.NaN()))))
	require.Equal(t, uint32(0x80000000), math.Float32bits(FMA32(-1, 0, float32(math.Copysign(0, -1)))), "-0 + -0")
	require.Equal(t, uint32(0), math.Float32bits(FMA32(1, 1, -1)), "exact zero is +0")
}

func TestFMA32Exact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		// Exponents close together, where one operand ends in the other's rounding range, and anything at all.
		near := func(name string) float32 {
			m := rapid.Uint32Range(0, 1<<23-1).Draw(t, name)
			if rapid.Bool().Draw(t, name+" short") {
				m &= 0x7f0000 | 1
			}
			e := rapid.Uint32Range(127-26, 127+26).Draw(t, name+" exponent")
			return math.Float32frombits(rapid.Uint32Range(0, 1).Draw(t, name+" sign")<<31 | e<<23 | m)
		}
		checkFMA(t, near("x"), near("y"), near("z"))
		any := rapid.Float32Range(-math.MaxFloat32, math.MaxFloat32)
		checkFMA(t, any.Draw(t, "u"), any.Draw(t, "v"), any.Draw(t, "w"))
		tiny := rapid.Float32Range(-0x1p-100, 0x1p-100)
		checkFMA(t, tiny.Draw(t, "a"), float32(0x1p-30), tiny.Draw(t, "b"))
	})
}
