package cpu

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/num"
)

// awkward draws float32 bit patterns: any exponent, denormals, infinities and NaN among them.
func awkward(r *rand.Rand, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		switch r.IntN(4) {
		case 0:
			x[i] = math.Float32frombits(r.Uint32())
		case 1:
			x[i] = math.Float32frombits(r.Uint32()&0x80ffffff | 0x7f000000)
		case 2:
			x[i] = math.Float32frombits(r.Uint32() & 0x80ffffff)
		default:
			x[i] = float32(r.NormFloat64())
		}
	}
	return x
}

// TestPackBits: every path packs the same bytes as plain Go, whose bytes Unpack must explain.
func TestPackBits(t *testing.T) {
	for _, s := range [][2]int{{1, 1}, {33, 31}, {64, 64}, {70, 97}, {48, 33}, {5, 200}} {
		n, k := s[0], s[1]
		r := rand.New(rand.NewPCG(uint64(n), uint64(k)))
		for _, typ := range []kernels.DType{kernels.F32, kernels.BF16, kernels.Q8} {
			for _, src := range []kernels.DType{kernels.F32, kernels.BF16, kernels.F16} {
				rows := asBytes(awkward(r, n*k))[:n*k*src.Size()]
				if typ == kernels.Q8 && src != kernels.F16 { // a scale beyond F16 makes every product NaN or infinite
					rows = asBytes(fill(r, make([]float32, n*k)))[:n*k*src.Size()]
				}
				var first []byte
				for i := len(Paths.List()) - 1; i >= 0; i-- {
					p := Paths.List()[i]
					if p.Missing != "" {
						continue
					}
					undo, err := Paths.Use(p.Name)
					require.NoError(t, err)
					d, err := New(Options{Threads: 2})
					undo()
					require.NoError(t, err)
					w, err := d.NewWeight(n, k, typ)
					require.NoError(t, err)
					odd := append([]byte{0}, rows...)[1:] // host bytes need not be aligned
					cut := n / 3
					d.PackHost(w, 0, odd[:cut*k*src.Size()], src)
					d.PackHost(w, cut, odd[cut*k*src.Size():], src)
					got := append([]byte(nil), w.(*weight).buf.mem...)
					if first == nil {
						first = got
						if typ != kernels.Q8 {
							checkUnpacked(t, d, w, rowSource{rows, src})
						}
					}
					require.Equal(t, first, got, "%s: %v from %v, [%d, %d]", p.Name, typ, src, n, k)
					w.Free()
					require.NoError(t, d.Close())
				}
			}
		}
	}
}

func checkUnpacked(t *testing.T, d *Device, w kernels.Weight, src rowSource) {
	n, k := w.Shape()
	want := make([]float32, n*k)
	for i := range want {
		want[i] = float(src.f32bits(i))
		if w.Type() == kernels.BF16 {
			want[i] = num.RoundBF16(want[i])
		}
	}
	u := tensor(t, d, n, k, nil)
	d.Unpack(u.Tensor, w, 0)
	same(t, want, u.values(), "unpacked %v", w)
}
