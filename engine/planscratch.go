package engine

import (
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/model"
)

// The heap of the program: the runtime, staging of loads, what requests hold; and a tokenizer's tables, for every
// token. Measured.
const (
	programBytes = 10 << 20
	tokenBytes   = 128
)

func (p Plan) program() int64 {
	if p.Program > 0 {
		return p.Program
	}
	vocab := 0
	for i := range p.Models {
		vocab = max(vocab, p.Models[i].Config.Vocab)
	}
	return programBytes + tokenBytes*int64(vocab)
}

// scratch is what a device holds for the work of all models on it.
func (p Plan) scratch(device string) int64 {
	var all []kernels.Work
	for i := range p.Models {
		if x := &p.Models[i]; p.deviceOf(x) == device {
			all = x.work(all)
		}
	}
	return p.sizes(device).Scratch(all)
}

// sizes are those of a device.
func (p Plan) sizes(device string) kernels.Sizes { return kernels.SizesOf(device, p.threads(device)) }

// work adds what the model's uses do to all.
func (x *PlanModel) work(all []kernels.Work) []kernels.Work {
	c := x.Config
	w := kernels.Work{Type: x.DType, HeadType: model.HeadType(x.DType), Products: c.Products(),
		Head: kernels.Shape{N: c.Vocab, K: c.Hidden}, Heads: c.Heads,
		Rank: x.rank(), LoRAType: loraType(x.DType)}
	if !x.Shared {
		all = append(all, kernels.Work{Type: x.DType, Head: w.Head, Packed: c.PackedAtOnce()})
	}
	if x.Engine != nil {
		if o, pages, err := x.options(); err == nil {
			w := w
			w.KV = c.KVSpec(pages, o.KVType)
			w.Rows, w.Segments, w.Longest = o.MaxBatchTokens, min(o.MaxSequences, o.MaxBatchTokens),
				min(o.MaxContext, pages*kernels.PageSize)
			w.Sampled = x.logitRows(o)
			all = append(all, w)
		}
	}
	for _, p := range []*PlanPass{x.Train, x.Score} {
		if p == nil {
			continue
		}
		w := w
		w.KV = c.KVSpec(int(p.pages()), p.kvType())
		w.Rows, w.Segments, w.Longest, w.Scored = p.Tokens, 2*max(p.Sequences, 1), p.longest(), p.Tokens
		if p == x.Train {
			w.Backward, w.Weights = true, x.Full
			if x.Full {
				w.Squares = int(c.Parameters())
			}
		}
		all = append(all, w)
	}
	return all
}
