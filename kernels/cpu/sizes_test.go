package cpu

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/kernels"
)

// What is planned for a device's scratch is what it has taken after the work, exactly: of products of every type,
// forward and backward, with and without adapters, and of losses, norms, sums of squares and attention's backward.
func TestScratchIsPlanned(t *testing.T) {
	const rows, heads, kvHeads, dim, hidden, inter, vocab, rank = 300, 4, 2, 32, 128, 3000, 2100, 6
	groups := [][]kernels.Shape{{{N: heads * dim, K: hidden}, {N: kvHeads * dim, K: hidden},
		{N: kvHeads * dim, K: hidden}},
		{{N: inter, K: hidden}, {N: inter, K: hidden}}, {{N: hidden, K: inter}}}
	for _, wt := range []kernels.DType{kernels.F32, kernels.BF16, kernels.Q8} {
		for _, threads := range []int{1, 3} {
			for _, r := range []int{0, rank} {
				if wt == kernels.Q8 && r == 0 {
					continue // Q8 is not trained
				}
				t.Run(fmt.Sprintf("%v/%d threads/rank %d", wt, threads, r), func(t *testing.T) {
					d, err := New(Options{Threads: threads})
					require.NoError(t, err)
					defer d.Close()
					lora := wt
					if wt == kernels.Q8 {
						lora = kernels.BF16
					}
					kvt := lora
					w := kernels.Work{Type: wt, Products: groups, Head: kernels.Shape{N: vocab, K: hidden},
						Heads: heads, Rank: r, LoRAType: lora,
						KV: kernels.KVSpec{Layers: 1, Pages: 10, KVHeads: kvHeads, HeadDim: dim, Type: kvt}, Rows: rows,
						Segments: 1,
						Longest:  rows, Scored: rows, Backward: true, Weights: r == 0, Squares: 100_000}
					do(t, d, &w)
					got := int64(0)
					for _, b := range d.arena {
						if b != nil {
							got += b.Bytes()
						}
					}
					want := kernels.SizesOf("cpu", threads).Scratch([]kernels.Work{w})
					require.LessOrEqual(t, got, want)
					require.InEpsilon(t, got, want, 0.1, "%v", d.arena)
				})
			}
		}
	}
}

// do does the work of one layer on d.
func do(t *testing.T, d *Device, w *kernels.Work) {
	var free []interface{ Free() }
	defer func() {
		for _, x := range free {
			x.Free()
		}
	}()
	tensor := func(t2 kernels.DType, rows, cols int) kernels.Tensor {
		x, err := kernels.NewTensor(d, t2, rows, cols)
		require.NoError(t, err)
		free = append(free, x.Buf)
		return x
	}
	f32 := func(rows, cols int) kernels.Tensor { return tensor(kernels.F32, rows, cols) }
	weight := func(n, k int, wt kernels.DType) kernels.Weight {
		x, err := d.NewWeight(n, k, wt)
		require.NoError(t, err)
		free = append(free, x)
		return x
	}
	for _, group := range w.Products {
		var to []kernels.Product
		x, sum := f32(w.Rows, group[0].K), 0
		for _, s := range group {
			p := kernels.Product{Y: f32(w.Rows, s.N), W: weight(s.N, s.K, w.Type),
				Epilogue: kernels.Epilogue{Add: true}}
			if w.Rank > 0 {
				p.LoRA = kernels.LoRA{A: weight(w.Rank, s.K, w.LoRAType), B: weight(s.N, w.Rank, w.LoRAType),
					U: f32(w.Rows, w.Rank), Scale: 2}
			}
			to, sum = append(to, p), sum+s.N
		}
		d.MatMuls(x, to)
		var dA []kernels.Tensor
		for i, p := range to {
			if w.Rank > 0 {
				d.MatMulDXLoRA(x, p.Y, p.W, true, p.LoRA)
				d.MatMulDW(f32(group[i].N, w.Rank), p.Y, p.LoRA.U, w.LoRAType)
				dA = append(dA, f32(w.Rank, group[i].K))
				continue
			}
			d.MatMulDX(x, p.Y, p.W, true, 1)
			d.MatMulDW(f32(group[i].N, group[i].K), p.Y, x, w.Type)
		}
		if len(dA) > 0 {
			d.MatMulDWs(dA, f32(w.Rows, w.Rank*len(group)), x, w.LoRAType)
		}
	}
	h, head, one, targets := f32(w.Rows, w.Head.K), weight(w.Head.N, w.Head.K, w.Type), f32(w.Rows, 1),
		tensor(kernels.I32, w.Rows, 1)
	all := kernels.LogProbs{Logp: one, Entropy: one, LSE: one, Keep: true}
	d.LogProb(all, h, head, targets, 1)
	var dw kernels.Tensor
	if w.Weights {
		dw = f32(w.Head.N, w.Head.K)
	}
	d.LogProbBackward(h, dw, f32(w.Rows, w.Head.K), head, targets, all, one, one, 1)
	d.RMSNormBackward(h, f32(1, w.Head.K), f32(w.Rows, w.Head.K), f32(w.Rows, w.Head.K), f32(1, w.Head.K), one, false)
	d.SumSquares(tensor(kernels.F64, 1, 1), f32(1, w.Squares), nil, false)

	kv, err := d.NewKV(w.KV)
	require.NoError(t, err)
	free = append(free, kv)
	l := kernels.Layout{IDs: make([]int32, w.Rows), Segs: []kernels.Segment{{Len: w.Rows}}}
	for i := range w.Rows {
		l.Pos, l.Slots = append(l.Pos, int32(i)), append(l.Slots, int32(i))
	}
	for p := range w.KV.Pages {
		l.Segs[0].Pages = append(l.Segs[0].Pages, int32(p))
	}
	b, err := kernels.BatchOf(d, l, kv)
	require.NoError(t, err)
	free = append(free, b)
	q, k := func() kernels.Tensor { return f32(w.Rows, w.Heads*w.KV.HeadDim) }, w.KV.KVHeads*w.KV.HeadDim
	y, x, lse := q(), q(), f32(w.Rows, w.Heads)
	slots := w.KV.Pages * kernels.PageSize
	d.Attention(y, x, lse, kv, 0, b, 1)
	d.AttentionBackward(q(), f32(slots, k), f32(slots, k), q(), y, x, lse, kv, 0, b, 1)
}
