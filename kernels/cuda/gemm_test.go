//go:build !nogpu && linux

package cuda

import (
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/kernels"
)

// bench is a device of the fake driver, and random tensors on it that are freed at the end.
type bench struct {
	checked
	t *testing.T
	r *rand.Rand
}

func newBench(t *testing.T) *bench {
	d, err := open()
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	return &bench{d.(checked), t, newRandom()}
}

func newRandom() *rand.Rand { return rand.New(rand.NewPCG(1, 2)) }

func (b *bench) random(n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(b.r.NormFloat64())
	}
	return x
}

// tensor is F32 with random numbers, its rows some elements apart.
func (b *bench) tensor(rows, cols int) kernels.Tensor {
	buf, err := b.Alloc(int64(4 * rows * (cols + 3)))
	require.NoError(b.t, err)
	b.t.Cleanup(buf.Free)
	all := kernels.Mat(buf, kernels.F32, 0, rows, cols+3)
	b.Upload(all, bytesOf32(b.random(all.Len())))
	return all.ColRange(1, cols)
}

func (b *bench) weights(k int, t kernels.DType, n ...int) []kernels.Weight {
	ws, err := b.NewWeights(k, t, n...)
	require.NoError(b.t, err)
	for i, w := range ws {
		b.PackHost(w, 0, bytesOf32(b.random(n[i]*k)), kernels.F32)
		b.t.Cleanup(w.Free)
	}
	return ws
}

func (b *bench) vector(n int) kernels.Tensor { return b.tensor(1, n) }

// read is the whole buffer that x is columns of.
func (b *bench) read(x kernels.Tensor) []float32 {
	y := make([]float32, x.Rows*x.Stride)
	require.NoError(b.t, b.Fetch(bytesOf32(y), kernels.Mat(x.Buf, kernels.F32, 0, x.Rows, x.Stride)).Wait())
	return y
}

func bytesOf32(x []float32) []byte { return unsafe.Slice((*byte)(unsafe.Pointer(&x[0])), 4*len(x)) }

// TestTiles: every tile gives the same bits, whole and partial ones.
func TestTiles(t *testing.T) {
	const rows, n, k = 131, 139, 150
	e := kernels.Epilogue{Add: true, Scale: 0.7}
	forward := func(b *bench, w kernels.DType) kernels.Tensor {
		y := b.tensor(rows, n)
		e.Bias = b.vector(n)
		b.MatMul(y, b.tensor(rows, k), b.weights(k, w, n)[0], e)
		return y
	}
	back := func(b *bench, w kernels.DType) kernels.Tensor {
		dx := b.tensor(rows, k)
		b.MatMulDX(dx, b.tensor(rows, n), b.weights(k, w, n)[0], true, 0.7)
		return dx
	}
	outer := func(b *bench, op kernels.DType) kernels.Tensor {
		dw := b.tensor(n, k)
		b.MatMulDW(dw, b.tensor(rows, n), b.tensor(rows, k), op)
		return dw
	}
	for _, c := range []struct {
		name  string
		tiles *[]tile
		t     kernels.DType
		run   func(b *bench, t kernels.DType) kernels.Tensor
	}{
		{"y/bf16", &products, kernels.BF16, forward}, {"y/f32", &products32, kernels.F32, forward},
		{"dx/bf16", &backProducts, kernels.BF16, back}, {"dx/f32", &backProducts32, kernels.F32, back},
		{"dw/bf16", &outerProducts, kernels.BF16, outer}, {"dw/f32", &outerProducts32, kernels.F32, outer},
		{"y/q8", &products8, kernels.Q8, forward},
	} {
		t.Run(c.name, func(t *testing.T) {
			all := *c.tiles
			defer func() { *c.tiles = all }()
			var want []float32
			for _, one := range all {
				t.Run(one.kernel, func(t *testing.T) {
					b := newBench(t) // the same random numbers
					one.least, one.most = 0, math.MaxInt
					*c.tiles = []tile{one}
					got := b.read(c.run(b, c.t))
					require.Equal(t, 1, b.m.Launches[one.kernel])
					if want == nil {
						want = got
					}
					require.Equal(t, want, got)
				})
			}
		})
	}
}

// TestPick: few rows take a low tile, and a tile is only as large as leaves work for all multiprocessors.
func TestPick(t *testing.T) {
	for _, c := range []struct {
		rows, cols int
		want       string
	}{
		{1, 2048, "gemm_16x16"}, {16, 11008, "gemm_16x64"}, {1, 151936, "gemm_16x64"}, {17, 2048, "gemm_64x32"},
		{64, 11008, "gemm_64x64"}, {65, 2048, "gemm_64x32"}, {320, 2048, "gemm_64x64"}, {8192, 2048, "gemm_128x128"},
		{320, 11008, "gemm_128x128"},
	} {
		require.Equal(t, c.want, pick(products, c.rows, c.cols, 132).kernel, "%d rows, %d columns", c.rows, c.cols)
	}
}

// TestGroup: weights of one group are one product, with the bits of each alone, wherever their outputs lie.
func TestGroup(t *testing.T) {
	const rows, k = 5, 70
	sizes := []int{33, 1, 64, 7, 20}
	for _, wt := range []kernels.DType{kernels.F32, kernels.BF16, kernels.Q8} {
		t.Run(wt.String(), func(t *testing.T) {
			b := newBench(t)
			ws, x := b.weights(k, wt, sizes...), b.tensor(rows, k)
			side := b.tensor(rows, 33+1+64+7+20)
			var apart, together []kernels.Product
			for i, from := 0, 0; i < len(ws); i, from = i+1, from+sizes[i] {
				p := kernels.Product{Y: b.tensor(rows, sizes[i]), W: ws[i], Epilogue: kernels.Epilogue{Scale: 0.5}}
				if i%2 == 0 {
					p.Bias = b.vector(sizes[i])
				}
				apart = append(apart, p)
				p.Y = side.ColRange(from, sizes[i])
				together = append(together, p)
			}
			count := func(f func()) (n int) {
				before := 0
				for _, c := range b.m.Launches {
					before -= c
				}
				f()
				for _, c := range b.m.Launches {
					before += c
				}
				return before
			}
			alone := count(func() { b.MatMul(apart[0].Y, x, ws[0], apart[0].Epilogue) })
			require.Equal(t, alone+1, count(func() { b.MatMuls(x, together) }), "five weights are four and one")
			for _, p := range apart {
				b.MatMul(p.Y, x, p.W, p.Epilogue)
			}
			got, stride, from := b.read(side), side.Stride, side.Off
			for i, p := range apart {
				want := b.read(p.Y)
				for r := range rows {
					require.Equal(t, want[r*p.Y.Stride+p.Y.Off:][:sizes[i]], got[r*stride+from:][:sizes[i]],
						"weight %d, row %d", i, r)
				}
				from += sizes[i]
			}
			want := b.read(apart[2].Y)
			b.Zero(apart[2].Y)
			b.MatMuls(x, apart) // one product too
			require.Equal(t, want, b.read(apart[2].Y))
		})
	}
}
