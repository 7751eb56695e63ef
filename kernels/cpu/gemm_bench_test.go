package cpu

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/zerosearch-go/zerosearch/kernels"
)

// benchDevice is a device and its limits, measured in the same run.
func benchDevice(b *testing.B, threads int) (*Device, Limits) {
	d, err := New(Options{Threads: threads})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, d.Close()) })
	l, err := d.Measure()
	require.NoError(b, err)
	return d, l
}

func benchTensor(b *testing.B, d *Device, rows, cols int) kernels.Tensor {
	buf, err := d.Alloc(int64(4 * rows * cols))
	require.NoError(b, err)
	b.Cleanup(buf.Free)
	t := kernels.Mat(buf, kernels.F32, 0, rows, cols)
	r := rand.New(rand.NewPCG(1, 2))
	x := f32(t)
	for i := range x {
		x[i] = float32(r.Float64()*2 - 1)
	}
	return t
}

func benchBatch(b *testing.B, d *Device, l kernels.Layout, kv kernels.KV) kernels.Batch {
	x, err := kernels.BatchOf(d, l, kv)
	require.NoError(b, err)
	b.Cleanup(x.Free)
	return x
}

// BenchmarkMatMul: shapes M x K x N, forward and both backward products, with the share of the limit: of the
// multiplication rate, or for few rows of the time to read the weights if that is more.
func BenchmarkMatMul(b *testing.B) {
	for _, threads := range []int{1, 2} {
		d, l := benchDevice(b, threads)
		for _, typ := range []kernels.DType{kernels.F32, kernels.BF16, kernels.Q8, kernels.Q4} {
			for _, s := range [][3]int{{1024, 1024, 1024}, {256, 576, 1536}, {512, 2048, 8192}, {512, 8192, 2048},
				{64, 2048, 8192}, {16, 2048, 8192}, {4, 2048, 8192}, {1, 2048, 8192}, {1, 576, 1536}} {
				benchProducts(b, d, l, typ, s[0], s[1], s[2])
			}
		}
	}
}

func benchProducts(b *testing.B, d *Device, l Limits, typ kernels.DType, m, k, n int) {
	var w []kernels.Weight // several where one would stay in the cache, as the layers of a model do not
	for size := 0; len(w) == 0 || m <= 16 && size < 200<<20; size += n * k {
		x, err := d.NewWeight(n, k, typ)
		require.NoError(b, err)
		d.Pack(x, 0, benchTensor(b, d, n, k))
		w = append(w, x)
	}
	x, y := benchTensor(b, d, m, k), benchTensor(b, d, m, n)
	peak := map[kernels.DType]float64{kernels.F32: l.F32, kernels.BF16: l.BF16, kernels.Q8: l.Q8, kernels.Q4: l.Q8}[typ]
	run := func(name string, f func(i int)) {
		b.Run(fmt.Sprintf("%s/%v/%dx%dx%d/%d", name, typ, m, k, n, d.Threads()), func(b *testing.B) {
			i := 0
			for b.Loop() {
				f(i % len(w))
				i++
			}
			s := b.Elapsed().Seconds() / float64(b.N)
			flops, bytes := 2*float64(m)*float64(n)*float64(k), float64(w[0].Bytes())
			b.ReportMetric(flops/s/1e9, "GFLOP/s")
			b.ReportMetric(bytes/s/1e9, "GB/s")
			b.ReportMetric(100*flops/s/peak, "%peak")
			b.ReportMetric(100*bytes/s/l.Read, "%read")
		})
	}
	run("forward", func(i int) { d.MatMul(y, x, w[i], kernels.Epilogue{}) })
	if m >= 256 {
		run("dx", func(i int) { d.MatMulDX(x, y, w[i], false, 0) })
		if typ != kernels.Q8 {
			dw := benchTensor(b, d, n, k)
			run("dw", func(int) { d.MatMulDW(dw, y, x, typ) })
		}
	}
	for _, x := range w {
		x.Free()
	}
}
