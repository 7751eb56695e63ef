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

// TestQ8 follows the definition at the head of q8.go, from the quantised weights as Unpack shows them.
func TestQ8(t *testing.T) {
	onPath(t, func(t *testing.T, d *Device) {
		for _, s := range oddShapes {
			testQ8(t, d, s[0], s[1], s[2])
		}
		testQ8(t, d, 9, 40, 1000)
		testQ8(t, d, q8ManyRows+5, 70, 97)
	})
}

// TestQ8ManyRows: the kernels for many rows give the bits of those for few.
func TestQ8ManyRows(t *testing.T) {
	onPath(t, func(t *testing.T, d *Device) {
		few, many := d.gemm.q8, d.gemm.q8Many
		if few.format == many.format {
			t.Skip("this path has one kind of kernels")
		}
		rapid.Check(t, func(r *rapid.T) {
			dim := func(name string, most int) int { return rapid.IntRange(1, most).Draw(r, name) }
			m, n, k := dim("m", 80), dim("n", 100), dim("k", 400)
			d.gemm.bounds = usualBounds
			if rapid.Bool().Draw(r, "in pieces") {
				d.gemm.bounds = bounds{rows: 1, made: 1, group: 1, piece: 1, dw: num.BlockAMX}
			}
			e := kernels.Epilogue{Add: rapid.Bool().Draw(r, "add"),
				Scale: rapid.SampledFrom([]float32{0, -0.3}).Draw(r, "scale")}
			random := rand.New(rand.NewPCG(uint64(m), uint64(n*k)))
			x, y := tensor(t, d, m, k, fill(random, make([]float32, m*k))), fill(random, make([]float32, m*n))
			if bias := tensor(t, d, 1, n, fill(random, make([]float32, n))); rapid.Bool().Draw(r, "bias") {
				e.Bias = bias.Tensor
			}
			w, err := d.NewWeight(n, k, kernels.Q8)
			require.NoError(t, err)
			defer w.Free()
			d.PackHost(w, 0, asBytes(fill(random, make([]float32, n*k))), kernels.F32)
			product := func(k gemmKernels) []float32 {
				d.gemm.q8, d.gemm.q8Many = k, k
				to := tensor(t, d, m, n, y)
				d.MatMul(to.Tensor, x.Tensor, w, e)
				return to.values()
			}
			same(t, product(few), product(many), "%dx%dx%d", m, n, k)
		})
	})
}

// TestQ8Extremes: sums of the largest products are exact, where 16 bits could overflow. Files may hold -128. The scale
// of all groups is 1.
func TestQ8Extremes(t *testing.T) {
	onPath(t, func(t *testing.T, d *Device) {
		for _, m := range []int{1, 7, 23} {
			const n, k = 40, 96
			r := rand.New(rand.NewPCG(uint64(m), 5))
			pairs := [][2]float32{{63.5, 63.5}, {-63.5, -63.5}, {127, -127}, {-127, 127}, {0, 127}, {-127, 0},
				{1.5, 125.5}}
			rows, x := []byte(nil), make([]float32, m*k)
			q := make([]int32, n*k)
			for j := range n {
				for i := range k {
					v := []int32{-128, -127, 127}[(r.IntN(3)+j)%3]
					if j < 3 {
						v = []int32{-128, -127, 127}[j]
					}
					q[j*k+i] = v
					rows = append(rows, byte(v))
				}
				for range k / 32 {
					rows = append(rows, 0, 0x3c) // 1 as F16
				}
			}
			for i := 0; i < len(x); i += 2 {
				p := pairs[r.IntN(len(pairs))]
				if i/k < 2 {
					p = pairs[i/k]
				}
				copy(x[i:], p[:])
			}
			w, err := d.NewWeight(n, k, kernels.Q8)
			require.NoError(t, err)
			defer w.Free()
			d.PackHost(w, 0, rows, kernels.Q8)
			y := tensor(t, d, m, n, nil)
			d.MatMul(y.Tensor, tensor(t, d, m, k, x).Tensor, w, kernels.Epilogue{})
			want := make([]float32, m*n)
			for i := range want {
				sum := int32(0) // below 2^24: each addition of the chain is exact
				for g := range k {
					sum += int32(math.RoundToEven(float64(x[i/n*k+g]))) * q[i%n*k+g]
				}
				want[i] = float32(sum)
			}
			same(t, want, y.values(), "%d rows", m)
		}
	})
}

func testQ8(t *testing.T, d *Device, m, n, k int) {
	r := rand.New(rand.NewPCG(uint64(m), uint64(n*k)))
	x, w, y, g := fill(r, make([]float32, m*k)), fill(r, make([]float32, n*k)), fill(r, make([]float32, m*n)),
		fill(r, make([]float32, m*n))
	if k > 33 { // a group of zeros, of tiny numbers, of NaN
		clear(x[:32])
		if m > 2 {
			for i := range 32 {
				x[k+i], x[2*k+i] = 0x1p-110, float32(math.Inf(1))
			}
		}
	}
	name := fmt.Sprintf("%dx%dx%d", m, n, k)
	hw, err := d.NewWeight(n, k, kernels.Q8)
	require.NoError(t, err)
	defer hw.Free()
	d.PackHost(hw, 0, asBytes(w), kernels.F32)
	u := tensor(t, d, n, k, nil)
	d.Unpack(u.Tensor, hw, 0)
	deq := u.values()
	groups := (k + 31) / 32
	group := func(v []float32, row, g int) []float32 { return v[row*k+g*32 : row*k+min((g+1)*32, k)] }
	wd := make([]float32, n*groups)
	for j := range n {
		for g := range groups {
			most := float32(0)
			for _, v := range group(w, j, g) {
				most = max(most, float32(math.Abs(float64(v))))
			}
			wd[j*groups+g] = num.RoundF16(most / 127)
			for i, v := range group(deq, j, g) {
				require.LessOrEqual(t, math.Abs(float64(v-group(w, j, g)[i])), float64(wd[j*groups+g])*0.5001,
					"%s weight %d group %d", name, j, g)
			}
		}
	}
	qw := make([]int32, n*k)
	for i, v := range deq {
		if d := wd[i/k*groups+i%k/32]; d != 0 {
			qw[i] = int32(math.Round(float64(v / d)))
		}
	}
	want := make([]float32, m*n)
	for i := range m {
		for g := range groups {
			scale, inverse := q8Scales(group(x, i, g))
			var qx [32]int32
			for e, v := range group(x, i, g) {
				if inverse != 0 {
					qx[e] = int32(math.RoundToEven(float64(v * inverse)))
				}
			}
			for j := range n {
				sum := int32(0)
				for e, q := range qw[j*k+g*32 : j*k+min((g+1)*32, k)] {
					sum += qx[e] * q
				}
				want[i*n+j] = num.FMA32(float32(sum)*scale, wd[j*groups+g], want[i*n+j])
			}
		}
	}
	hx, hy := tensor(t, d, m, k, x), tensor(t, d, m, n, y)
	d.MatMul(hy.Tensor, hx.Tensor, hw, kernels.Epilogue{})
	same(t, want, hy.values(), "MatMul %s", name)
	for i := range want {
		want[i] = float32(want[i]*0.25) + want[i]
	}
	d.MatMul(hy.Tensor, hx.Tensor, hw, kernels.Epilogue{Scale: 0.25, Add: true})
	same(t, want, hy.values(), "MatMul with epilogue %s", name)

	wantDX := make([]float32, m*k)
	for i := range m {
		for j := range k {
			wantDX[i*k+j] = d.chainOn(kernels.BF16, 0, n, func(q int) float32 { return g[i*n+q] },
				func(q int) float32 { return deq[q*k+j] })
		}
	}
	hdx := tensor(t, d, m, k, nil)
	d.MatMulDX(hdx.Tensor, tensor(t, d, m, n, g).Tensor, hw, false, 0)
	same(t, wantDX, hdx.values(), "MatMulDX %s", name)
}
