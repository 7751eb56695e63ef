package cpu

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestPackersBits: the packers of A and B write what those in plain Go write, of any bit pattern, and nothing past the
// room that they have. VDPBF16PS flushes denormals, and so do the packers of its operands: see TestPackBits.
func TestPackersBits(t *testing.T) {
	onPath(t, func(t *testing.T, d *Device) {
		r := rand.New(rand.NewPCG(3, 4))
		for _, k := range []*gemmKernels{&d.gemm.f32, &d.gemm.bf16} {
			if k.format == pairs || k.format == amxPairs {
				continue
			}
			for mr := 1; mr <= k.mr; mr++ {
				for _, n := range []int{1, 2, 7, 16, 33, 64, 97} {
					testPackers(t, r, k, mr, n)
				}
			}
			for _, width := range []int{1, 8, 9, 31, 32} {
				for _, n := range []int{1, 2, 7, 40} {
					src := awkward(r, (n-1)*77+width)
					want, got := make([]uint32, 40*panelCols+16), make([]uint32, 40*panelCols+16)
					packColumns(k.panelFormat(), want, panelCols, src, 77, width, n)
					k.columns(k.panelFormat(), got, panelCols, src, 77, width, n)
					require.Equal(t, want, got, "panel %d of %d columns, %d rows", k.format, width, n)
				}
			}
		}
	})
}

// testPackers packs a tile of mr rows, n long, from rows and from columns.
func testPackers(t *testing.T, r *rand.Rand, k *gemmKernels, mr, n int) {
	size, ld := k.steps(n)*k.format.words()*mr, n+3
	room := size + k.format.beyond(k.mr)
	src := awkward(r, mr*ld)
	want, got := make([]uint32, size), make([]uint32, room)
	packRows(k.format, want, src[:(mr-1)*ld+n], ld, mr, 0, n)
	k.rows(got, src[:(mr-1)*ld+n], ld, mr, n)
	require.Equal(t, want, got[:size], "format %d: %d rows of %d", k.format, mr, n)

	src, ld = awkward(r, n*(mr+5)), mr+5
	packColumns(k.format, want, mr, src[:(n-1)*ld+mr], ld, mr, n)
	k.columns(k.format, got, mr, src[:(n-1)*ld+mr], ld, mr, n)
	require.Equal(t, want, got[:size], "format %d: %d columns of %d", k.format, mr, n)
}
