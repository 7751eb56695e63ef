package cpu

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/num"
	"pgregory.net/rapid"
)

// chain is the definition: fused multiply-adds over k ascending, in pairs with the odd one first for BF16.
func chain(t kernels.DType, c float32, n int, x, w func(k int) float32) float32 {
	if t == kernels.F32 {
		for k := range n {
			c = num.FMA32(x(k), w(k), c)
		}
		return c
	}
	x16 := func(k int) float32 { return num.RoundBF16(x(k)) }
	w16 := func(k int) float32 { return num.RoundBF16(w(k)) }
	for k := 0; k < n; k += 2 {
		if k+1 < n {
			c = num.FMA32(x16(k+1), w16(k+1), c)
		}
		c = num.FMA32(x16(k), w16(k), c)
	}
	return c
}

// chainOn is chain on the device's path.
func (d *Device) chainOn(t kernels.DType, c float32, n int, x, w func(k int) float32) float32 {
	if t != kernels.BF16 || d.gemm.bf16.format != amxPairs {
		return chain(t, c, n, x, w)
	}
	a, b := make([]float32, n), make([]float32, n)
	for k := range n {
		a[k], b[k] = num.RoundBF16(x(k)), num.RoundBF16(w(k))
	}
	return num.DotAMX(c, a, b)
}

// fill draws numbers of mixed size, none whose products are denormal.
func fill(r *rand.Rand, x []float32) []float32 {
	for i := range x {
		x[i] = float32(math.Ldexp(r.NormFloat64(), r.IntN(7)-3))
	}
	return x
}

// onPath runs f on each path that this machine has.
func onPath(t *testing.T, f func(t *testing.T, d *Device)) {
	for _, p := range Paths.List() {
		for _, threads := range []int{1, 3} {
			t.Run(fmt.Sprintf("%s/%d", p.Name, threads), func(t *testing.T) {
				if p.Missing != "" {
					t.Skipf("this machine lacks %s", p.Missing)
				}
				undo, err := Paths.Use(p.Name)
				require.NoError(t, err)
				defer undo()
				d, err := New(Options{Threads: threads})
				require.NoError(t, err)
				defer d.Close()
				f(t, d)
			})
		}
	}
}

// host is a device tensor with a guard of canaries on both sides and in the gaps of its stride.
type host struct {
	kernels.Tensor
	t   *testing.T
	mem []float32
}

const canary = -1234.5

func tensor(t *testing.T, d *Device, rows, cols int, x []float32) host {
	t.Helper()
	stride, before := cols+5, 19
	b, err := d.Alloc(int64(4 * (2*before + rows*stride)))
	require.NoError(t, err)
	t.Cleanup(b.Free)
	h := host{kernels.Tensor{Buf: b, Off: before, Rows: rows, Cols: cols, Stride: stride, Type: kernels.F32}, t,
		elems[float32](b.(*buffer).mem)}
	for i := range h.mem {
		h.mem[i] = canary
	}
	for i := range rows {
		row := h.mem[before+i*stride:][:cols]
		clear(row)
		if x != nil {
			copy(row, x[i*cols:])
		}
	}
	return h
}

// values returns the elements after a look at the canaries.
func (h host) values() []float32 {
	h.t.Helper()
	var v []float32
	for i, x := range h.mem {
		r, c := (i-h.Off)/h.Stride, (i-h.Off)%h.Stride
		if i >= h.Off && r < h.Rows && c < h.Cols {
			v = append(v, x)
		} else if x != canary {
			require.FailNow(h.t, "canary", "element %d of %v changed to %v", i-h.Off, h.Tensor, x)
		}
	}
	return v
}

func same(t *testing.T, want, got []float32, what string, args ...any) {
	t.Helper()
	require.Len(t, got, len(want))
	for i := range want {
		if math.Float32bits(want[i]) != math.Float32bits(got[i]) && !(want[i] != want[i] && got[i] != got[i]) {
			require.FailNow(t, fmt.Sprintf(what, args...), "element %d: want %v (%08x), got %v (%08x)", i, want[i],
				bits(want[i]), got[i], bits(got[i]))
		}
	}
}

var oddShapes = [][3]int{{1, 1, 1}, {1, 33, 31}, {3, 32, 64}, {2, 97, 2}, {5, 64, 1}, {13, 31, 37}, {14, 16, 96},
	{17, 70, 66}, {29, 131, 127}, {43, 64, 70}}

func TestProducts(t *testing.T) {
	onPath(t, func(t *testing.T, d *Device) {
		for _, typ := range []kernels.DType{kernels.F32, kernels.BF16} {
			for _, s := range oddShapes {
				testProduct(t, d, typ, s[0], s[1], s[2])
			}
		}
	})
}

// TestProductsInPieces runs every loop over chunks and groups more than once.
func TestProductsInPieces(t *testing.T) {
	onPath(t, func(t *testing.T, d *Device) {
		d.gemm.bounds = bounds{rows: 1, made: 1, group: 1, piece: 1, dw: num.BlockAMX}
		for _, typ := range []kernels.DType{kernels.F32, kernels.BF16} {
			testProduct(t, d, typ, 61, 100, 131)
		}
		testQ8(t, d, 61, 100, 131)
	})
}

// TestProductsOfAnyShape draws shapes; it also pins the tiles of every number of rows.
func TestProductsOfAnyShape(t *testing.T) {
	onPath(t, func(t *testing.T, d *Device) {
		rapid.Check(t, func(r *rapid.T) {
			typ := rapid.SampledFrom([]kernels.DType{kernels.F32, kernels.BF16}).Draw(r, "type")
			dim := func(name string, most int) int { return rapid.IntRange(1, most).Draw(r, name) }
			testProduct(t, d, typ, dim("m", 40), dim("n", 70), dim("k", 70))
		})
	})
}

// TestNoRowsNoColumns: empty operands are the callers' everyday life.
func TestNoRowsNoColumns(t *testing.T) {
	onPath(t, func(t *testing.T, d *Device) {
		for _, typ := range []kernels.DType{kernels.F32, kernels.BF16} {
			for _, s := range [][3]int{{0, 5, 7}, {5, 0, 7}, {5, 7, 0}} {
				testProduct(t, d, typ, s[0], s[1], s[2])
			}
		}
	})
}

func testProduct(t *testing.T, d *Device, typ kernels.DType, m, n, k int) {
	r := rand.New(rand.NewPCG(uint64(m), uint64(n*k)))
	x, w, y, g := fill(r, make([]float32, m*k)), fill(r, make([]float32, n*k)), fill(r, make([]float32, m*n)),
		fill(r, make([]float32, m*n))
	dx, bias := fill(r, make([]float32, m*k)), fill(r, make([]float32, n))
	name := fmt.Sprintf("%v %dx%dx%d", typ, m, n, k)
	hw, err := d.NewWeight(n, k, typ)
	require.NoError(t, err)
	defer hw.Free()
	d.Pack(hw, 0, tensor(t, d, n, k, w).Tensor)
	hx, hg, hb := tensor(t, d, m, k, x), tensor(t, d, m, n, g), tensor(t, d, 1, n, bias)

	want, wantE := make([]float32, m*n), make([]float32, m*n)
	for i := range m {
		for j := range n {
			c := d.chainOn(typ, 0, k, func(q int) float32 { return x[i*k+q] }, func(q int) float32 { return w[j*k+q] })
			want[i*n+j], wantE[i*n+j] = c, float32(float32(c*0.3)+bias[j])+y[i*n+j]
		}
	}
	hy := tensor(t, d, m, n, y)
	d.MatMul(hy.Tensor, hx.Tensor, hw, kernels.Epilogue{Scale: 0.3, Bias: hb.Tensor, Add: true})
	same(t, wantE, hy.values(), "MatMul with epilogue, %s", name)
	d.MatMul(hy.Tensor, hx.Tensor, hw, kernels.Epilogue{})
	same(t, want, hy.values(), "MatMul %s", name)

	wantDX := make([]float32, m*k)
	for i := range m {
		for j := range k {
			c := d.chainOn(typ, 0, n, func(q int) float32 { return g[i*n+q] }, func(q int) float32 { return w[q*k+j] })
			wantDX[i*k+j] = float32(c*1.7) + dx[i*k+j]
		}
	}
	hdx := tensor(t, d, m, k, dx)
	d.MatMulDX(hdx.Tensor, hg.Tensor, hw, true, 1.7)
	same(t, wantDX, hdx.values(), "MatMulDX %s", name)

	wantDW := make([]float32, n*k)
	for i := range n {
		for j := range k {
			wantDW[i*k+j] = d.chainOn(typ, w[i*k+j], m, func(q int) float32 { return g[q*n+i] },
				func(q int) float32 { return x[q*k+j] })
		}
	}
	hdw := tensor(t, d, n, k, w)
	d.MatMulDW(hdw.Tensor, hg.Tensor, hx.Tensor, typ)
	same(t, wantDW, hdw.values(), "MatMulDW %s", name)
}
