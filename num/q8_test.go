package num

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestQuantizeQ8(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	for _, c := range []struct {
		name  string
		x     []float32
		scale float32
		q     []int8
	}{
		{"the largest becomes 127", []float32{127, -127, 1, 0}, 1, []int8{127, -127, 1, 0}},
		{"ties go to even", []float32{0.5, 1.5, -0.5, 127}, 1, []int8{0, 2, 0, 127}},
		{"the scale is rounded to F16 before it divides", []float32{127.05, 1}, 1, []int8{127, 1}},
		{"zeros", []float32{0, 0}, 0, []int8{0, 0}},
		{"a scale that F16 does not reach", []float32{1e-9, -1e-9}, 0, []int8{0, 0}},
		{"a scale in the denormals of F16 is coarse", []float32{127 * 0x1p-24, 100 * 0x1p-24}, 0x1p-24,
			[]int8{127, 100}},
		{"a value that rounds beyond is clamped", []float32{127 * 1.4 * 0x1p-24}, 0x1p-24, []int8{127}},
		{"infinite", []float32{inf, 1}, inf, []int8{0, 0}},
		{"NaN", []float32{nan, 1}, nan, []int8{0, 0}},
	} {
		t.Run(c.name, func(t *testing.T) {
			q := make([]int8, len(c.x))
			scale := F32FromF16(QuantizeQ8(q, c.x))
			if math.IsNaN(float64(c.scale)) {
				require.True(t, math.IsNaN(float64(scale)))
			} else {
				require.Equal(t, c.scale, scale)
			}
			require.Equal(t, c.q, q)
		})
	}
}
