package bench

import (
	"github.com/zerosearch-go/zerosearch/bench/ops"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/model"
)

// work is the work of all calls of one kernel in a pass.
type work struct {
	kernel string
	calls  float64 // launches; a projection of several matrices is one product
	ops.Cost
	// stored are the bytes of weights and of the KV cache. A pass has to read them from memory, while activations may
	// be in the processor's caches.
	stored float64
	matrix bool // a matrix product or attention: counts in the model's FLOPs
}

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
func (f forwardShape) passes(s ops.Span) float64 {
	if f.tokens < 1 {
		return 1
	}
	return float64((s.Batch*s.N + f.tokens - 1) / f.tokens)
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
	return work{kernel: name, calls: calls, Cost: ops.Cost{FLOPs: flops * elements, Type: kernels.F32,
		Bytes: bytes * elements}}
}

// times is the work of n repetitions of w.
func (w work) times(n float64) work {
	w.calls, w.FLOPs, w.Bytes, w.stored = n*w.calls, n*w.FLOPs, n*w.Bytes, n*w.stored
	return w
}

// headType is the type of the embedding and the output matrix.
func (f forwardShape) headType() kernels.DType { return model.HeadType(f.t) }

// forward lists the kernels of s in the order of model.Forward.
func (f forwardShape) forward(s ops.Span) []work {
	c, rows, passes, x := f.c, s.Rows(), f.passes(s), f.operand()
	layers, hd, gd := float64(c.Layers), float64(c.Heads*c.HeadDim), float64(c.KVHeads*c.HeadDim)
	out := []work{vector("embed", passes, rows, 0, float64(c.Hidden)*4+ops.WeightBytes(1, c.Hidden, f.headType()))}
	norms := vector("rmsnorm", (2*layers+1)*passes, rows*float64(c.Hidden), 4*(2*layers+1), 2*layers*(4+x)+8)
	norms.stored = passes * 4 * float64(c.Hidden) * (2*layers + 1)
	norms.Bytes += norms.stored
	out = append(out, norms)
	for _, l := range linears(c) {
		out = append(out, f.product(l, rows, passes).times(layers))
		switch l.name {
		case "qkv":
			if c.QKNorm {
				w := vector("rmsnorm q, k", 2*layers*passes, rows*(hd+gd), 4*layers, 8*layers)
				w.stored = passes * 8 * float64(c.HeadDim) * layers
				w.Bytes += w.stored
				out = append(out, w)
			}
			a := work{kernel: "attention", calls: layers * passes, Cost: ops.AttentionCost(c, f.kv, s),
				stored: s.Cached(c, f.kv), matrix: true}
			a.FLOPs, a.Bytes, a.stored = layers*a.FLOPs, layers*a.Bytes, layers*a.stored
			out = append(out, vector("rope", 2*layers*passes, rows*(hd+gd), 3*layers, 8*layers),
				vector("kv_write", layers*passes, rows*2*gd, 0, layers*float64(4+f.kv.Size())), a)
		case "gate_up":
			out = append(out, vector("swiglu", layers*passes, rows*float64(c.Inter), 14*layers, (8+x)*layers))
		}
	}
	if f.rank > 0 { // a product with A and one with B of each projection: inputs and outputs are read, outputs written
		w := work{kernel: "adapter", calls: 14 * layers * passes, matrix: true,
			Cost: ops.Cost{FLOPs: 2 * rows * float64(adapterParameters(c, f.rank)), Type: f.t,
				Bytes: 6 * rows * float64(adapterParameters(c, 1))}}
		out = append(out, w)
	}
	return append(out, f.output(s)...)
}

// product is the product l of one layer over rows, in several passes.
func (f forwardShape) product(l linear, rows, passes float64) work {
	w := work{kernel: l.name, calls: passes, Cost: ops.ProductCost(rows, l.k, l.n, f.t, f.operand()), matrix: true}
	w.Bytes += (passes - 1) * ops.WeightBytes(l.n, l.k, f.t)
	w.stored = passes * ops.WeightBytes(l.n, l.k, f.t)
	if l.bias {
		w.Bytes, w.stored = w.Bytes+passes*4*float64(l.n), w.stored+passes*4*float64(l.n)
	}
	if l.add {
		w.Bytes += 4 * rows * float64(l.n)
	}
	return w
}

// output lists the kernels for the rows that the output matrix is applied to.
func (f forwardShape) output(s ops.Span) []work {
	c, rows := f.c, float64(s.Batch*s.Logits)
	if rows == 0 {
		return nil
	}
	passes := f.passes(s)
	w := work{kernel: "head", calls: passes, matrix: true,
		Cost: ops.ProductCost(rows, c.Hidden, c.Vocab, f.headType(), 4)}
	if f.score {
		w.kernel, w.Cost = "logprob", ops.LogprobCost(rows, c.Hidden, c.Vocab, f.headType())
	}
	w.stored = passes * ops.WeightBytes(c.Vocab, c.Hidden, f.headType())
	w.Bytes += w.stored - ops.WeightBytes(c.Vocab, c.Hidden, f.headType())
	if f.score {
		return []work{w}
	}
	return []work{w, vector("sample", passes, rows*float64(c.Vocab), 0, 4)}
}

// train lists the kernels of forward and backward of s, whose gradients are added up; with recompute the layers'
// forward is done twice. Without it, the backward pass recomputes only norms and gated activations.
func (f forwardShape) train(s ops.Span, recompute bool) []work {
	f.score = true
	c, rows, passes := f.c, s.Rows(), f.passes(s)
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
	if n := float64(s.Batch * s.Logits); n > 0 {
		w := work{kernel: "logprob_backward", calls: passes, matrix: true,
			Cost: ops.LogprobBackwardCost(n, c.Hidden, c.Vocab, f.headType(), full)}
		out = append(out, w)
	}
	for _, l := range linears(c) {
		dx := work{kernel: "dx of " + l.name, calls: passes, matrix: true,
			Cost: ops.ProductCost(rows, l.n, l.k, f.t, 4)}
		if dx.Bytes += (passes - 1) * ops.WeightBytes(l.n, l.k, f.t); f.t.Quantised() {
			dx.Type = kernels.BF16 // the gradient's product with a q8 or q4 weight is computed in bf16
		}
		out = append(out, dx.times(layers))
		if full {
			dw := work{kernel: "dw of " + l.name, calls: passes, matrix: true,
				Cost: ops.GradientCost(rows, l.k, l.n, f.t)}
			dw.Bytes += (passes - 1) * 8 * float64(l.n) * float64(l.k)
			out = append(out, dw.times(layers))
		}
		if l.bias && full {
			out = append(out, vector("bias_backward", layers*passes, rows*float64(l.n), layers, 4*layers))
		}
	}
	a := work{kernel: "attention_backward", calls: passes, matrix: true, Cost: ops.AttentionBackwardCost(c, f.kv, s)}
	out = append(out, a.times(layers))
	if f.rank > 0 {
		out = append(out, work{kernel: "adapter_backward", calls: 28 * layers * passes, matrix: true,
			Cost: ops.Cost{FLOPs: 4 * rows * float64(adapterParameters(c, f.rank)), Type: f.t,
				Bytes: 12 * rows * float64(adapterParameters(c, 1))}})
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
	return []work{vector("sumsquares", 1, n, 2, 4), vector("update", 1, n, 15, ops.UpdateBytes)}
}

// merge adds up the works of each kernel name, in the order of first occurrence.
func merge(all []work) (out []work) {
	at := map[string]int{}
	for _, w := range all {
		i, ok := at[w.kernel]
		if !ok {
			i = len(out)
			at[w.kernel], out = i, append(out, work{kernel: w.kernel, Cost: ops.Cost{Type: w.Type}, matrix: w.matrix})
		}
		o := &out[i]
		o.calls, o.FLOPs, o.Bytes, o.stored = o.calls+w.calls, o.FLOPs+w.FLOPs, o.Bytes+w.Bytes, o.stored+w.stored
	}
	return out
}

// least is the minimal cost of all: the arithmetic of the products, and reading weights and KV cache.
func least(t kernels.DType, all []work) ops.Cost {
	sum := ops.Cost{Type: t}
	for _, w := range all {
		if sum.Bytes += w.stored; w.matrix {
			sum.FLOPs += w.FLOPs
		}
	}
	return sum
}

// passCost is a forward pass over tokens [start, start+n) of each of batch sequences, the output matrix applied to
// logits rows of each. The weights are read once, but for an embedding that is only looked up; keys and values of all
// positions are read once.
func passCost(c *model.Config, t, kv kernels.DType, batch, start, n, logits int) ops.Cost {
	return least(t, forwardShape{c: c, t: t, kv: kv}.forward(
		ops.Span{Batch: batch, Start: start, N: n, Logits: logits}))
}

// attentionFLOPs are the operations of one query over n keys in all layers.
func attentionFLOPs(c *model.Config, n int) int64 {
	return 4 * int64(n) * int64(c.Layers) * int64(c.Heads*c.HeadDim)
}

// trainCost is a step on batch sequences of n tokens, all of them in the loss: 6 operations a weight and token (forward
// 2, backward 4), with a frozen base 4, and three times the causal half of attention; recomputed activations do not
// count. It is the same count that "model FLOPs utilisation" uses (Chowdhery et al., arXiv 2204.02311), lower by the
// other half of attention. rank is the adapter's.
func trainCost(c *model.Config, t kernels.DType, batch, n, rank int) ops.Cost {
	forward := passCost(c, t, kernels.BF16, batch, 0, n, n)
	tokens := float64(batch * n)
	attention := float64(attentionFLOPs(c, 1)) * ops.Pairs(0, n) * float64(batch)
	weights := forward.FLOPs - attention
	if rank == 0 {
		return ops.Cost{FLOPs: 3*weights + 3*attention, Type: t, Bytes: forward.Bytes + 28*float64(c.Parameters())}
	}
	adapter := tokens * 6 * float64(adapterParameters(c, rank))
	return ops.Cost{FLOPs: 2*weights + 3*attention + adapter, Type: t,
		Bytes: 2*forward.Bytes + 28*float64(adapterParameters(c, rank))}
}

// adapterParameters is the size of a LoRA of all seven projections.
func adapterParameters(c *model.Config, rank int) int64 {
	hd, gd := c.Heads*c.HeadDim, c.KVHeads*c.HeadDim
	io := 4*c.Hidden + 2*hd + 2*gd + 3*(c.Hidden+c.Inter) // inputs and outputs of q, k, v, o; gate, up, down
	return int64(c.Layers) * int64(rank) * int64(io)
}
