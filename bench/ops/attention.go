package ops

import (
	"math"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/model"
)

// Attention is measured on prompts of 2048 and 4096 tokens, and on decode of 16 sequences of 2048 tokens.
var (
	prefillLengths = []int{512, 2048, 4096}
	decodeBatch    = 16
	decodeLength   = 2048
)

// each calls f for every distinct attention shape of the models.
func eachAttention(models []string, f func(of string, c *model.Config)) {
	seen := map[[3]int]bool{}
	eachModel(models, func(of string, c *model.Config) {
		if key := [3]int{c.Heads, c.KVHeads, c.HeadDim}; !seen[key] {
			seen[key] = true
			f(of, c)
		}
	})
}

func eachModel(models []string, f func(of string, c *model.Config)) {
	for _, name := range models {
		if c, err := LookupModel(name); err == nil {
			f(name, c)
		}
	}
}

// attentionCases: m query rows, k keys, n = H*D.
func attentionCases(models []string) (out []Case) {
	eachAttention(models, func(of string, c *model.Config) {
		for _, t := range []kernels.DType{kernels.F32, kernels.BF16} {
			for _, n := range prefillLengths {
				out = append(out, attention("attention_prefill", of, c, t, 1, 0, n))
			}
			out = append(out, attention("attention_decode", of, c, t, 1, decodeLength-1, 1),
				attention("attention_decode", of, c, t, decodeBatch, decodeLength-1, 1))
			out = append(out, attentionBackward(of, c, t, 1, 2048), attentionBackward(of, c, t, 8, 256))
		}
	})
	return out
}

// sequences lays out batch sequences of length start+n, each on separate pages; their last n tokens are queries.
func sequences(batch, start, n int) (segs []kernels.Segment, pages int) {
	for i := range batch {
		s := kernels.Segment{Row: i * n, Len: n, Start: start}
		for range kernels.PagesFor(start + n) {
			s.Pages = append(s.Pages, int32(pages))
			pages++
		}
		segs = append(segs, s)
	}
	return segs, pages
}

// cache is a filled KV cache.
func (b *bed) cache(c *model.Config, layers, pages int, t kernels.DType) kernels.KV {
	kv, err := b.d.NewKV(kernels.KVSpec{Layers: layers, Pages: pages, KVHeads: c.KVHeads, HeadDim: c.HeadDim, Type: t})
	b.keep(kv, err)
	gd := c.KVHeads * c.HeadDim
	k := b.f32(kernels.PageSize, gd)
	for p := range pages {
		slots := make([]int32, kernels.PageSize)
		for i := range slots {
			slots[i] = int32(p*kernels.PageSize + i)
		}
		st := b.batch(kernels.Layout{Slots: slots}, kv)
		for l := range layers {
			b.d.KVWrite(kv, l, k, k, st)
		}
	}
	return kv
}

func attention(op, of string, c *model.Config, t kernels.DType, batch, start, n int) Case {
	hd, rows := c.Heads*c.HeadDim, batch*n
	s := Span{Batch: batch, Start: start, N: n}
	w := AttentionCost(c, t, s)
	return Case{op, of, Shape{"m": rows, "k": start + n, "n": hd, "batch": batch}, t, w, func(b *bed) func(int) {
		segs, pages := sequences(batch, start, n)
		layers := 1
		if n == 1 {
			layers = copies(s.Cached(c, t))
		}
		kv := b.cache(c, layers, pages, t)
		q, y, all := b.f32(rows, hd), b.empty(kernels.F32, rows, hd), b.batch(kernels.Layout{Segs: segs}, kv)
		scale := float32(1 / math.Sqrt(float64(c.HeadDim)))
		return func(i int) { b.d.Attention(y, q, kernels.Tensor{}, kv, i%layers, all, scale) }
	}}
}

func attentionBackward(of string, c *model.Config, t kernels.DType, batch, n int) Case {
	hd, rows, gd := c.Heads*c.HeadDim, batch*n, c.KVHeads*c.HeadDim
	w := AttentionBackwardCost(c, t, Span{Batch: batch, N: n})
	return Case{"attention_backward", of, Shape{"m": rows, "k": n, "n": hd, "batch": batch}, t, w,
		func(b *bed) func(int) {
			segs, pages := sequences(batch, 0, n)
			kv := b.cache(c, 1, pages, t)
			q, y, dy, dq := b.f32(rows, hd), b.empty(kernels.F32, rows, hd), b.f32(rows, hd),
				b.empty(kernels.F32, rows, hd)
			lse, all := b.empty(kernels.F32, rows, c.Heads), b.batch(kernels.Layout{Segs: segs}, kv)
			dk, dv := b.empty(kernels.F32, pages*kernels.PageSize, gd), b.empty(kernels.F32, pages*kernels.PageSize, gd)
			scale := float32(1 / math.Sqrt(float64(c.HeadDim)))
			b.d.Attention(y, q, lse, kv, 0, all, scale)
			return func(int) { b.d.AttentionBackward(dq, dk, dv, dy, y, q, lse, kv, 0, all, scale) }
		}}
}

// cacheCases: writing the keys and values of m tokens, and copying pages of m tokens.
func cacheCases(models []string) (out []Case) {
	const m = 512
	eachAttention(models, func(of string, c *model.Config) {
		gd := c.KVHeads * c.HeadDim
		for _, t := range []kernels.DType{kernels.F32, kernels.BF16} {
			bytes := 2 * float64(m*gd*(4+t.Size()))
			out = append(out, Case{"kv_write", of, Shape{"m": m, "k": 1, "n": gd}, t, Cost{0, kernels.F32, bytes},
				func(b *bed) func(int) {
					layers := copies(bytes)
					kv := b.cache(c, layers, m/kernels.PageSize, t)
					k, v, slots := b.f32(m, gd), b.f32(m, gd), b.batch(kernels.Layout{Slots: numbers(0, m, 1, m)}, kv)
					return func(i int) { b.d.KVWrite(kv, i%layers, k, v, slots) }
				}})
		}
		move := 2 * 2 * float64(m*gd*kernels.BF16.Size())
		out = append(out, Case{"kv_copy", of, Shape{"m": m, "k": 1, "n": gd}, kernels.BF16,
			Cost{0, kernels.F32, move * float64(c.Layers)}, func(b *bed) func(int) {
				pages := m / kernels.PageSize
				kv := b.cache(c, c.Layers, 2*pages, kernels.BF16)
				dst, src := make([]int32, pages), make([]int32, pages)
				for i := range dst {
					src[i], dst[i] = int32(i), int32(pages+i)
				}
				return func(int) { b.d.KVCopy(kv, dst, src) }
			}})
	})
	return out
}
