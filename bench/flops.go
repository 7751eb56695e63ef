package bench

import (
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/model"
)

// work is the work of all calls of one kernel in a pass.
type work struct {
	kernel string
	calls  float64 // launches; a projection of several matrices is one product
	cost
	// stored are the bytes of weights and of the KV cache. A pass has to read them from memory, while activations may
	// be in the processor's caches.
	stored float64
	matrix bool // a matrix product or attention: counts in the model's FLOPs
}

// span is a forward pass over tokens [start, start+n) of each of batch sequences, the output matrix applied to logits
// rows of each.
type span struct{ batch, start, n, logits int }

func (s span) rows() float64 { return float64(s.batch * s.n) }

// forwardShape is a model with the settings of its passes.
type forwardShape struct {
	c     *model.Config
	t, kv kernels.DType
	rank  int  // of an adapter on all projections; 0: none
	score bool // the rows of the output matrix are scored against targets, not sampled
	// tokens is the maximum of a pass: the weights are read once for each pass. 0: all tokens in one pass.
	tokens int
}

// passes is the number of times that the weights are read for a span.
func (f forwardShape) passes(s span) float64 {
	if f.tokens < 1 {
		return 1
	}
	return float64((s.batch*s.n + f.tokens - 1) / f.tokens)
}

// operand is the size in bytes of an element that only products read: see Device.Operand.
func (f forwardShape) operand() float64 {
	if f.t == kernels.BF16 {
		return 2
	}
	return 4
}

// linear is a matrix product of a layer; several matrices with the same input are one product.
type linear struct {
	name string
	n, k int
	bias bool
	add  bool // the result is added to the residual stream
}

func linears(c *model.Config) []linear {
	hd, gd := c.Heads*c.HeadDim, c.KVHeads*c.HeadDim
	return []linear{{"qkv", hd + 2*gd, c.Hidden, c.QKVBias, false}, {"o", c.Hidden, hd, c.OBias, true},
		{"gate_up", 2 * c.Inter, c.Hidden, c.MLPBias, false}, {"down", c.Hidden, c.Inter, c.MLPBias, true}}
}

// vector is an elementwise or row-wise kernel in F32; flops and bytes are per element.
func vector(name string, calls, elements, flops, bytes float64) work {
	return work{kernel: name, calls: calls, cost: cost{flops * elements, kernels.F32, bytes * elements}}
}

// times is the work of n repetitions of w.
func (w work) times(n float64) work {
	w.calls, w.flops, w.bytes, w.stored = n*w.calls, n*w.flops, n*w.bytes, n*w.stored
	return w
}

// forward lists the kernels of s in the order of model.Forward.
func (f forwardShape) forward(s span) []work {
	c, rows, passes, x := f.c, s.rows(), f.passes(s), f.operand()
	layers, hd, gd := float64(c.Layers), float64(c.Heads*c.HeadDim), float64(c.KVHeads*c.HeadDim)
	out := []work{vector("embed", passes, rows, 0, float64(c.Hidden)*4+weightBytes(1, c.Hidden, f.t))}
	norms := vector("rmsnorm", (2*layers+1)*passes, rows*float64(c.Hidden), 4*(2*layers+1), 2*layers*(4+x)+8)
	norms.stored = passes * 4 * float64(c.Hidden) * (2*layers + 1)
	norms.bytes += norms.stored
	out = append(out, norms)
	for _, l := range linears(c) {
		out = append(out, f.product(l, rows, passes).times(layers))
		switch l.name {
		case "qkv":
			if c.QKNorm {
				w := vector("rmsnorm q, k", 2*layers*passes, rows*(hd+gd), 4*layers, 8*layers)
				w.stored = passes * 8 * float64(c.HeadDim) * layers
				w.bytes += w.stored
				out = append(out, w)
			}
			a := work{kernel: "attention", calls: layers * passes, cost: attentionCost(c, f.kv, s),
				stored: s.cached(c, f.kv), matrix: true}
			a.flops, a.bytes, a.stored = layers*a.flops, layers*a.bytes, layers*a.stored
			out = append(out, vector("rope", 2*layers*passes, rows*(hd+gd), 3*layers, 8*layers),
				vector("kv_write", layers*passes, rows*2*gd, 0, layers*float64(4+f.kv.Size())), a)
		case "gate_up":
			out = append(out, vector("swiglu", layers*passes, rows*float64(c.Inter), 14*layers, (8+x)*layers))
		}
	}
	if f.rank > 0 { // a product with A and one with B of each projection: inputs and outputs are read, outputs written
		w := work{kernel: "adapter", calls: 14 * layers * passes, matrix: true,
			cost: cost{2 * rows * float64(adapterParameters(c, f.rank)), f.t,
				6 * rows * float64(adapterParameters(c, 1))}}
		out = append(out, w)
	}
	return append(out, f.output(s)...)
}

// product is the product l of one layer over rows, in several passes.
func (f forwardShape) product(l linear, rows, passes float64) work {
	w := work{kernel: l.name, calls: passes, cost: productCost(rows, l.k, l.n, f.t, f.operand()), matrix: true}
	w.bytes += (passes - 1) * weightBytes(l.n, l.k, f.t)
	w.stored = passes * weightBytes(l.n, l.k, f.t)
	if l.bias {
		w.bytes, w.stored = w.bytes+passes*4*float64(l.n), w.stored+passes*4*float64(l.n)
	}
	if l.add {
		w.bytes += 4 * rows * float64(l.n)
	}
	return w
}

// output lists the kernels for the rows that the output matrix is applied to.
func (f forwardShape) output(s span) []work {
	c, rows := f.c, float64(s.batch*s.logits)
	if rows == 0 {
		return nil
	}
	passes := f.passes(s)
	w := work{kernel: "head", calls: passes, matrix: true, cost: productCost(rows, c.Hidden, c.Vocab, f.t, 4)}
	if f.score {
		w.kernel, w.cost = "logprob", logprobCost(rows, c.Hidden, c.Vocab, f.t)
	}
	w.stored = passes * weightBytes(c.Vocab, c.Hidden, f.t)
	w.bytes += w.stored - weightBytes(c.Vocab, c.Hidden, f.t)
	if f.score {
		return []work{w}
	}
	return []work{w, vector("sample", passes, rows*float64(c.Vocab), 0, 4)}
}

// train lists the kernels of forward and backward of s, whose gradients are added up; with recompute the layers'
// forward is done twice. Without it, the backward pass recomputes only norms and gated activations.
func (f forwardShape) train(s span, recompute bool) []work {
	f.score = true
	c, rows, passes := f.c, s.rows(), f.passes(s)
	layers, hd, gd := float64(c.Layers), float64(c.Heads*c.HeadDim), float64(c.KVHeads*c.HeadDim)
	out := f.forward(s)
	for _, w := range out {
		again := w.kernel == "rmsnorm" || w.kernel == "rmsnorm q, k" || w.kernel == "swiglu"
		if w.kernel != "embed" && w.kernel != "logprob" && (recompute || again) {
			w.kernel += ", again"
			out = append(out, w)
		}
	}
	full := f.rank == 0
	if n := float64(s.batch * s.logits); n > 0 {
		w := work{kernel: "logprob_backward", calls: passes, matrix: true,
			cost: logprobBackwardCost(n, c.Hidden, c.Vocab, f.t, full)}
		out = append(out, w)
	}
	for _, l := range linears(c) {
		dx := work{kernel: "dx of " + l.name, calls: passes, matrix: true, cost: productCost(rows, l.n, l.k, f.t, 4)}
		if dx.bytes += (passes - 1) * weightBytes(l.n, l.k, f.t); f.t == kernels.Q8 {
			dx.typ = kernels.BF16 // the gradient's product with a q8 weight is computed in bf16
		}
		out = append(out, dx.times(layers))
		if full {
			dw := work{kernel: "dw of " + l.name, calls: passes, matrix: true, cost: gradientCost(rows, l.k, l.n, f.t)}
			dw.bytes += (passes - 1) * 8 * float64(l.n) * float64(l.k)
			out = append(out, dw.times(layers))
		}
		if l.bias && full {
			out = append(out, vector("bias_backward", layers*passes, rows*float64(l.n), layers, 4*layers))
		}
	}
	a := work{kernel: "attention_backward", calls: passes, matrix: true, cost: attentionBackwardCost(c, f.kv, s)}
	out = append(out, a.times(layers))
	if f.rank > 0 {
		out = append(out, work{kernel: "adapter_backward", calls: 28 * layers * passes, matrix: true,
			cost: cost{4 * rows * float64(adapterParameters(c, f.rank)), f.t,
				12 * rows * float64(adapterParameters(c, 1))}})
	}
	out = append(out, vector("rope", 2*layers*passes, rows*(hd+gd), 3*layers, 8*layers),
		vector("swiglu_backward", layers*passes, rows*float64(c.Inter), 20*layers, 20*layers),
		vector("rmsnorm_backward", (2*layers+1)*passes, rows*float64(c.Hidden), 10*(2*layers+1), 12*(2*layers+1)))
	if full {
		out = append(out, vector("embed_backward", passes, rows*float64(c.Hidden), 1, 12))
	}
	return merge(out)
}

// optimizer is a step of AdamW over the trained parameters: the gradient's norm; moments, masters, the packed weight, a
// cleared gradient.
func (f forwardShape) optimizer() []work {
	n := float64(f.c.Parameters())
	if f.rank > 0 {
		n = float64(adapterParameters(f.c, f.rank))
	}
	return []work{vector("sumsquares", 1, n, 2, 4), vector("update", 1, n, 15, updateBytes)}
}

// merge adds up the works of each kernel name, in the order of first occurrence.
func merge(all []work) (out []work) {
	at := map[string]int{}
	for _, w := range all {
		i, ok := at[w.kernel]
		if !ok {
			i = len(out)
			at[w.kernel], out = i, append(out, work{kernel: w.kernel, cost: cost{typ: w.typ}, matrix: w.matrix})
		}
		o := &out[i]
		o.calls, o.flops, o.bytes, o.stored = o.calls+w.calls, o.flops+w.flops, o.bytes+w.bytes, o.stored+w.stored
	}
	return out
}

// least is the minimal cost of all: the arithmetic of the products, and reading weights and KV cache.
func least(t kernels.DType, all []work) cost {
	sum := cost{typ: t}
	for _, w := range all {
		if sum.bytes += w.stored; w.matrix {
			sum.flops += w.flops
		}
	}
	return sum
}

// passCost is a forward pass over tokens [start, start+n) of each of batch sequences, the output matrix applied to
// logits rows of each. The weights are read once, but for an embedding that is only looked up; keys and values of all
// positions are read once.
func passCost(c *model.Config, t, kv kernels.DType, batch, start, n, logits int) cost {
	return least(t, forwardShape{c: c, t: t, kv: kv}.forward(span{batch, start, n, logits}))
}

// attentionFLOPs are the operations of one query over n keys in all layers.
func attentionFLOPs(c *model.Config, n int) int64 {
	return 4 * int64(n) * int64(c.Layers) * int64(c.Heads*c.HeadDim)
}

// trainCost is a step on batch sequences of n tokens, all of them in the loss: 6 operations a weight and token (forward
// 2, backward 4), with a frozen base 4, and thrice the causal half of attention; recomputed activations do not count.
// It is the same count that "model FLOPs utilisation" uses (Chowdhery et al., arXiv 2204.02311), lower by the other
// half of attention. rank is the adapter's.
func trainCost(c *model.Config, t kernels.DType, batch, n, rank int) cost {
	forward := passCost(c, t, kernels.BF16, batch, 0, n, n)
	tokens := float64(batch * n)
	attention := float64(attentionFLOPs(c, 1)) * pairs(0, n) * float64(batch)
	weights := forward.flops - attention
	if rank == 0 {
		return cost{3*weights + 3*attention, t, forward.bytes + 28*float64(c.Parameters())}
	}
	adapter := tokens * 6 * float64(adapterParameters(c, rank))
	return cost{2*weights + 3*attention + adapter, t, 2*forward.bytes + 28*float64(adapterParameters(c, rank))}
}

// adapterParameters is the size of a LoRA of all seven projections.
func adapterParameters(c *model.Config, rank int) int64 {
	hd, gd := c.Heads*c.HeadDim, c.KVHeads*c.HeadDim
	io := 4*c.Hidden + 2*hd + 2*gd + 3*(c.Hidden+c.Inter) // inputs and outputs of q, k, v, o; gate, up, down
	return int64(c.Layers) * int64(rank) * int64(io)
}
