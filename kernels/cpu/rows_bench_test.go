//go:build unix

package cpu

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/zerosearch-go/zerosearch/kernels"
)

// BenchmarkRows: operations that move memory, beside the time to read as much. bytes counts what is read and written.
func BenchmarkRows(b *testing.B) {
	for _, threads := range []int{1, 2} {
		d, l := benchDevice(b, threads)
		run := func(name string, bytes int, f func()) {
			b.Run(fmt.Sprintf("%s/%d", name, threads), func(b *testing.B) {
				s := bestTime(b, threads, func(int) { f() })
				b.ReportMetric(float64(bytes)/s/1e9, "GB/s")
				b.ReportMetric(100*float64(bytes)/s/l.Read, "%read")
			})
		}
		const rows, c, ff, heads = 2048, 576, 1536, 9
		x, y, z, w, r := benchTensor(b, d, rows, c), benchTensor(b, d, rows, c), benchTensor(b, d, rows, c),
			benchTensor(b, d, 1, c), benchTensor(b, d, rows, 1)
		dw := benchTensor(b, d, 1, c)
		n := 4 * rows * c
		run("RMSNorm", 2*n, func() { d.RMSNorm(y, x, w, 1e-5, r) })
		run("RMSNormBackward", 4*n, func() { d.RMSNormBackward(z, dw, y, x, w, r, true) })
		at, table := benchBatch(b, d, kernels.Layout{Pos: upTo(rows)}, nil), benchTensor(b, d, rows, c/heads)
		run("RoPE", 2*n, func() { d.RoPE(x, heads, at, table, false) })
		run("Axpy", 3*n, func() { d.Axpy(y, 1e-9, x) })
		run("Copy", 2*n, func() { d.Copy(y, x) })
		g, u, v := benchTensor(b, d, rows, ff), benchTensor(b, d, rows, ff), benchTensor(b, d, rows, ff)
		run("SwiGLU", 3*4*rows*ff, func() { d.SwiGLU(v, g, u) })
		run("SwiGLUBackward", 5*4*rows*ff, func() { d.SwiGLUBackward(g, u, v, g, u) })
		p := []kernels.Tensor{benchTensor(b, d, 8192, 1024), benchTensor(b, d, 8192, 1024),
			benchTensor(b, d, 8192, 1024), benchTensor(b, d, 8192, 1024)}
		d.Zero(p[3])
		run("AdamW", 7*4*8192*1024, func() {
			d.AdamW(p[0], p[1], p[2], p[3], kernels.AdamWStep{LR: 1e-6, Beta1: 0.9, Beta2: 0.95, Eps: 1e-8,
				GradScale: 1, Step: 3})
		})
		sum := benchTensor(b, d, 1, 2)
		sum.Type, sum.Cols, sum.Stride = kernels.F64, 1, 1
		run("SumSquares", 4*8192*1024, func() { d.SumSquares(sum, p[1], nil, false) })
		benchSample(b, d, run)
		benchKVWrite(b, d, run)
		benchLogProb(b, d, l, threads)
	}
}

func benchSample(b *testing.B, d *Device, run func(name string, bytes int, f func())) {
	const v = 128256
	for _, n := range []int{1, 16} {
		logits, ids, logp := benchTensor(b, d, n, v), benchTensor(b, d, n, 1), benchTensor(b, d, n, 1)
		for i := range f32(logits) {
			f32(logits)[i] *= 6
		}
		ids.Type = kernels.I32
		for _, x := range []struct {
			name string
			s    kernels.Sampling
		}{{"greedy", kernels.Sampling{Greedy: true, InvTemp: 1}}, {"plain", kernels.Sampling{InvTemp: 1, Stream: 7}},
			{"top-k 50 top-p 0.9", kernels.Sampling{InvTemp: 1, Stream: 7, TopK: 50, TopP: 0.9}},
			{"top-p 0.9", kernels.Sampling{InvTemp: 1, Stream: 7, TopP: 0.9}}} {
			rules := make([]kernels.Sampling, n)
			for i := range rules {
				rules[i] = x.s
			}
			all := benchBatch(b, d, kernels.Layout{Draws: rules}, nil)
			run(fmt.Sprintf("Sample%d/%s", n, x.name), 4*n*v,
				func() { d.Sample(ids, kernels.LogProbs{Logp: logp}, logits, all, 0) })
		}
	}
}

func benchKVWrite(b *testing.B, d *Device, run func(name string, bytes int, f func())) {
	const g, dim, n = 8, 64, 2048
	kv, err := d.NewKV(kernels.KVSpec{Layers: 1, Pages: n / kernels.PageSize, KVHeads: g, HeadDim: dim,
		Type: kernels.BF16})
	require.NoError(b, err)
	b.Cleanup(kv.Free)
	k, at := benchTensor(b, d, n, g*dim), benchBatch(b, d, kernels.Layout{Slots: upTo(n)}, kv)
	run("KVWrite", 2*n*g*dim*6, func() { d.KVWrite(kv, 0, k, k, at) })
}

func benchLogProb(b *testing.B, d *Device, l Limits, threads int) {
	const rows, c, v = 512, 576, 49152
	w, err := d.NewWeight(v, c, kernels.BF16)
	require.NoError(b, err)
	b.Cleanup(w.Free)
	master := benchTensor(b, d, v, c)
	d.Pack(w, 0, master)
	h, dh, target := benchTensor(b, d, rows, c), benchTensor(b, d, rows, c), benchTensor(b, d, rows, 1)
	target.Type = kernels.I32
	d.Zero(target)
	one := func() kernels.Tensor { return benchTensor(b, d, rows, 1) }
	lp, dlogp := kernels.LogProbs{Logp: one(), Entropy: one(), LSE: one()}, one()
	run := func(name string, ops float64, f func()) {
		b.Run(fmt.Sprintf("%s/%d", name, threads), func(b *testing.B) {
			s := bestTime(b, threads, func(int) { f() })
			b.ReportMetric(ops*2*rows*c*v/s/1e9, "GFLOP/s")
			b.ReportMetric(100*ops*2*rows*c*v/s/l.BF16, "%peak")
		})
	}
	run("LogProb", 1, func() { d.LogProb(lp, h, w, target, 1) })
	run("LogProbBackward", 2,
		func() { d.LogProbBackward(dh, kernels.Tensor{}, h, w, target, lp, dlogp, kernels.Tensor{}, 1) })
	run("LogProbBackwardDW", 3, func() { d.LogProbBackward(dh, master, h, w, target, lp, dlogp, kernels.Tensor{}, 1) })
}
