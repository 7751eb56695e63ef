package num

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// The outputs for seed 1234567 that SplitMix64's public implementations print.
func TestUniformIsSplitMix64(t *testing.T) {
	s := SplitMix(1234567)
	for i, want := range []uint64{6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431,
		16408922859458223821} {
		require.Equal(t, float64(want>>11)/(1<<53), Uniform(1234567, i))
		require.Equal(t, want, s.Next())
		require.Equal(t, want, Mix(Unmix(want)))
	}
}

func TestStreamDependsOnEveryPartAndItsPlace(t *testing.T) {
	seen := map[uint64][]uint64{}
	for a := range uint64(12) {
		for b := range uint64(12) {
			for _, parts := range [][]uint64{{a, b}, {a, b, 0}, {0, a, b}} {
				h := Stream(parts...)
				if old, dup := seen[h]; dup {
					require.Equal(t, old, parts)
				}
				seen[h] = parts
			}
		}
	}
	require.NotEqual(t, Stream(), Stream(0))
}

// Mean and variance of neighbouring positions and of neighbouring streams are those of a uniform draw, within 5 sigma.
func TestUniformIsUniform(t *testing.T) {
	const n = 100_000
	for name, draw := range map[string]func(i int) float64{
		"positions": func(i int) float64 { return Uniform(Stream(1, 2), i) },
		"streams":   func(i int) float64 { return Uniform(Stream(7, uint64(i)), 0) },
	} {
		var sum, sq, lag, last float64
		for i := range n {
			u := draw(i)
			require.True(t, u >= 0 && u < 1)
			sum, sq, lag, last = sum+u, sq+u*u, lag+(u-.5)*(last-.5), u
		}
		require.InDelta(t, .5, sum/n, 5*math.Sqrt(1./12/n), name)
		require.InDelta(t, 1./3, sq/n, 5*math.Sqrt(4./45/n), name)
		require.InDelta(t, 0, lag/n, 5./12/math.Sqrt(n), name)
	}
}
