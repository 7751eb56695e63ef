package num

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestQuantizeQ4(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	ramp := make([]float32, 16) // what a group can hold exactly
	for i := range ramp {
		ramp[i] = (float32(i) - 3) * 0.25
	}
	for _, c := range []struct {
		name string
		x    []float32
		head uint16
		q    []uint8
	}{
		{"a ramp is exact", ramp, 0x34<<9 | 24, []uint8{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}},
		{"zeros", []float32{0, 0}, 0, []uint8{0, 0}},
		{"infinite", []float32{inf, 1}, Q4NotFinite, []uint8{0, 0}},
		{"NaN", []float32{1, nan}, Q4NotFinite, []uint8{0, 0}},
		{"below the smallest step", []float32{0x1p-24, 0}, 1<<7 | 64, nil},
		{"beyond the largest step", []float32{3e38, -3e38}, q4Most<<7 | 57, []uint8{15, 0}},
	} {
		t.Run(c.name, func(t *testing.T) {
			q := make([]uint8, len(c.x))
			head := QuantizeQ4(q, c.x)
			require.Equal(t, c.head, head, "step %v zero %d", StepQ4(head), ZeroQ4(head))
			if c.q != nil {
				require.Equal(t, c.q, q)
			}
		})
	}
}

// TestQ4Error: on normal numbers the squared error is at most that of the best of all steps and zeros plus 4%, and
// below that of 4 bits without a zero.
func TestQ4Error(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var got, best, symmetric float64
	for range 300 {
		x, q := make([]float32, Q4Group), make([]uint8, Q4Group)
		for i := range x {
			x[i] = float32(r.NormFloat64()) * 0.02
		}
		errorOf := func(head uint16) (sum float64) {
			d, z := float64(StepQ4(head)), float64(ZeroQ4(head))/8
			for _, v := range x {
				e := float64(v)/d + z
				e -= math.RoundToEven(min(max(e, 0), 15))
				sum += e * e * d * d
			}
			return sum
		}
		head := QuantizeQ4(q, x)
		for i, v := range q {
			w := (8*float64(v) - float64(ZeroQ4(head))) * float64(StepQ4(head)) / 8
			got += (float64(x[i]) - w) * (float64(x[i]) - w)
		}
		least, even := math.Inf(1), math.Inf(1)
		for code := head>>7 - 14; code < head>>7+14; code++ {
			for z := range uint16(128) {
				e := errorOf(code<<7 | z)
				if least = min(least, e); z == 64 {
					even = min(even, e)
				}
			}
		}
		best, symmetric = best+least, symmetric+even
	}
	t.Logf("%.4g; the best %.4g, without a zero %.4g", got, best, symmetric)
	require.LessOrEqual(t, got, 1.04*best)
	require.Less(t, got, 0.9*symmetric)
}

func BenchmarkQuantizeQ4(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	x, q := make([]float32, 4096), make([]uint8, Q4Group)
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	b.SetBytes(int64(4 * len(x)))
	for b.Loop() {
		for g := 0; g < len(x); g += Q4Group {
			QuantizeQ4(q, x[g:g+Q4Group])
		}
	}
}
