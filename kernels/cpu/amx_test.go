//go:build amd64 && !noasm

package cpu

import (
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"github.com/zerosearch-go/zerosearch/num"
)

// special are BF16 numbers near the limits of the ranges that AMX treats specially.
var special = []float32{0, float32(math.Copysign(0, -1)), 1, -1, 0x1p-126, -0x1p-126, 0x1p-127, -0x1p-133, 0x1p-63,
	0x1p-64, -0x1p-63, 0x1.fep127, -0x1.fep127,
	float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.NaN()), 0x1p-75, 0x1p-50, 256, 257, 1.0078125}

// bf16Numbers draws BF16: ordinary ones, any bits, special ones, or few bits so that ties of rounding are frequent.
func bf16Numbers(r *rand.Rand, kind, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		switch kind {
		case 0:
			x[i] = num.RoundBF16(float32(r.NormFloat64()))
		case 1:
			x[i] = math.Float32frombits(r.Uint32() & 0xffff0000)
		case 2:
			x[i] = num.RoundBF16(special[r.IntN(len(special))])
		case 3:
			x[i] = float32(math.Ldexp(float64(r.IntN(5)-2), r.IntN(26)-13))
		default: // around the smallest normal
			x[i] = num.RoundBF16(float32(math.Ldexp(r.NormFloat64(), -63+r.IntN(6)-3)))
		}
	}
	return x
}

// TestTileArithmetic: the processor's TDPBF16PS is num.DotAMX, bit for bit, on ordinary and on awkward numbers.
func TestTileArithmetic(t *testing.T) {
	if Paths.List()[0].Missing != "" {
		t.Skipf("this machine lacks %s", Paths.List()[0].Missing)
	}
	r := rand.New(rand.NewPCG(7, 11))
	const k = 96
	pair := func(lo, hi float32) uint32 { return bits(lo)>>16 | bits(hi)&0xffff0000 }
	for round := range 400 {
		mr, kind := 1+r.IntN(maxTile), round%5
		a, b, c := bf16Numbers(r, kind, mr*k), bf16Numbers(r, kind, panelCols*k), bf16Numbers(r, kind, mr*panelCols)
		for i := range c {
			if kind == 0 {
				c[i] = float32(r.NormFloat64())
			} else if kind == 4 {
				c[i] = math.Float32frombits(r.Uint32() & 0x81ffffff)
			}
		}
		pa, pb, y := make([]uint32, mr*k/2), make([]uint32, panelCols*k/2), append([]float32(nil), c...)
		for s := range k / 2 {
			for i := range mr {
				pa[(s/amxTileSteps*mr+i)*amxTileSteps+s%amxTileSteps] = pair(a[i*k+2*s], a[i*k+2*s+1])
			}
			for j := range panelCols {
				pb[s*panelCols+j] = pair(b[j*k+2*s], b[j*k+2*s+1])
			}
		}
		x := tile{steps: k / 2, a: unsafe.Pointer(&pa[0]), b: unsafe.Pointer(&pb[0]), c: unsafe.Pointer(&y[0]),
			ldc: 4 * panelCols, mode: modeChain, mr: mr}
		tileAMX(&x)
		want := make([]float32, len(c))
		for i := range mr {
			for j := range panelCols {
				want[i*panelCols+j] = num.DotAMX(c[i*panelCols+j], a[i*k:][:k], b[j*k:][:k])
			}
		}
		same(t, want, y, "round %d: %d rows of kind %d", round, mr, kind)
	}
	require.Equal(t, 2*amxTileSteps, num.BlockAMX)
}
