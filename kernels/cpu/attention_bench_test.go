//go:build unix

package cpu

import (
	"fmt"
	"math"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/zerosearch-go/zerosearch/kernels"
)

// benchHeads are H, G, D of SmolLM2-135M, Llama-3.2-1B and Qwen2.5-3B.
var benchHeads = []struct {
	name    string
	h, g, d int
}{{"SmolLM2-135M", 9, 3, 64}, {"Llama-3.2-1B", 32, 8, 64}, {"Qwen2.5-3B", 16, 2, 128}}

// bestTime is the shortest time of a run of f in seconds: on one thread of processor time, since others may use the
// machine meanwhile.
func bestTime(b *testing.B, threads int, f func(i int)) float64 {
	now := processorTime
	if threads > 1 {
		start := time.Now()
		now = func() float64 { return time.Since(start).Seconds() }
	}
	best, i := math.Inf(1), 0
	for b.Loop() {
		t := now()
		f(i)
		best = min(best, now()-t)
		i++
	}
	return best
}

func processorTime() float64 {
	var r syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return float64(r.Utime.Nano()+r.Stime.Nano()) / 1e9
}

type attnBench struct {
	d              *Device
	kv             kernels.KV
	q, y, lse      kernels.Tensor
	dq, dk, dv, dy kernels.Tensor
	segs           []kernels.Segment
	batch          kernels.Batch
	flops          float64 // of the forward
	bytes          float64 // of keys and values
	scale          float32
	layers         int
}

// newAttnBench is n sequences whose last length tokens of total are queries; layers are as many as do not fit the
// cache.
func newAttnBench(b *testing.B, d *Device, t kernels.DType, h, g, dim, n, length, total int, backward bool) *attnBench {
	a := &attnBench{d: d, scale: 0.125, layers: 1}
	per := (total + kernels.PageSize - 1) / kernels.PageSize
	if length == 1 {
		a.layers = 1 + total/257*(128<<20)/(n*per*kernels.PageSize*g*dim*2*t.Size())
	}
	var err error
	a.kv, err = d.NewKV(kernels.KVSpec{Layers: a.layers, Pages: n * per, KVHeads: g, HeadDim: dim, Type: t})
	require.NoError(b, err)
	b.Cleanup(a.kv.Free)
	slots := n * per * kernels.PageSize
	k, at := benchTensor(b, d, slots, g*dim), benchBatch(b, d, kernels.Layout{Slots: upTo(slots)}, a.kv)
	for l := range a.layers {
		d.KVWrite(a.kv, l, k, k, at)
	}
	for s := range n {
		seg := kernels.Segment{Row: s * length, Len: length, Start: total - length}
		for p := range per {
			seg.Pages = append(seg.Pages, int32(s*per+p))
		}
		a.segs = append(a.segs, seg)
		for i := range length {
			a.flops += 4 * float64(h*dim) * float64(total-length+i+1)
		}
	}
	a.bytes = float64(n*total*g*dim*2) * float64(t.Size())
	a.batch = benchBatch(b, d, kernels.Layout{Segs: a.segs}, a.kv)
	a.q, a.y, a.lse = benchTensor(b, d, n*length, h*dim), benchTensor(b, d, n*length, h*dim),
		benchTensor(b, d, n*length, h)
	if backward {
		a.dq, a.dy = benchTensor(b, d, n*length, h*dim), benchTensor(b, d, n*length, h*dim)
		a.dk, a.dv = benchTensor(b, d, slots, g*dim), benchTensor(b, d, slots, g*dim)
	}
	return a
}

// BenchmarkAttention: prefill beside the rate of multiplication, decode beside the time to read keys and values.
func BenchmarkAttention(b *testing.B) {
	for _, threads := range []int{1, 2} {
		d, l := benchDevice(b, threads)
		for _, t := range []kernels.DType{kernels.BF16, kernels.F32} {
			peak := map[kernels.DType]float64{kernels.F32: l.F32, kernels.BF16: l.BF16}[t]
			for _, m := range benchHeads {
				run := func(name string, n, length, total int, ops float64, f func(a *attnBench, i int)) {
					b.Run(fmt.Sprintf("%s/%v/%s/%d", name, t, m.name, threads), func(b *testing.B) {
						a := newAttnBench(b, d, t, m.h, m.g, m.d, n, length, total, ops > 1)
						s := bestTime(b, threads, func(i int) { f(a, i%a.layers) })
						b.ReportMetric(ops*a.flops/s/1e9, "GFLOP/s")
						b.ReportMetric(100*ops*a.flops/s/peak, "%peak")
						if length == 1 {
							b.ReportMetric(a.bytes/s/1e9, "GB/s")
							b.ReportMetric(100*a.bytes/s/l.Read, "%read")
						}
					})
				}
				forward := func(a *attnBench, layer int) { d.Attention(a.y, a.q, a.lse, a.kv, layer, a.batch, a.scale) }
				run("prefill512", 1, 512, 512, 1, forward)
				run("prefill2k", 1, 2048, 2048, 1, forward)
				run("prefill4k", 1, 4096, 4096, 1, forward)
				run("decode1x4k", 1, 1, 4096, 1, forward)
				run("decode1x256", 1, 1, 256, 1, forward)
				run("decode16x1k", 16, 1, 1024, 1, forward)
				back := func(a *attnBench, layer int) {
					d.AttentionBackward(a.dq, a.dk, a.dv, a.dy, a.y, a.q, a.lse, a.kv, layer, a.batch, a.scale)
				}
				run("backward4x512", 4, 512, 512, 2.5, back)
				run("backward2k", 1, 2048, 2048, 2.5, back)
			}
		}
	}
}
