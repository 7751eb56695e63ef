package model

import "github.com/zerosearch-go/zerosearch/kernels"

// Parameters is the number of weights, a tied matrix once.
func (c *Config) Parameters() int64 {
	var n int64
	c.eachShape(func(_ string, shape []int) {
		k := int64(1)
		for _, s := range shape {
			k *= int64(s)
		}
		n += k
	})
	return n
}

// Vectors is how many of the parameters are norms and biases.
func (c *Config) Vectors() (n int64) {
	c.eachShape(func(_ string, shape []int) {
		if len(shape) == 1 {
			n += int64(shape[0])
		}
	})
	return n
}

// eachShape walks through the checkpoint's tensors without making any.
func (c *Config) eachShape(visit func(name string, shape []int)) {
	slots(c, &Model{layers: make([]layer, c.Layers)}, func(name string, shape []int, _ **Param) { visit(name, shape) })
}

// WeightBytes is what the weights occupy held as t, without the padding of a device's layout: matrices as c.HeldAs
// says, norms and biases F32.
func (c *Config) WeightBytes(t kernels.DType) int64 {
	var n int64
	c.eachShape(func(name string, shape []int) {
		if len(shape) == 1 {
			n += 4 * int64(shape[0])
			return
		}
		switch held := c.HeldAs(name, t); held {
		case kernels.Q8: // a short group has its scale too, and in Q4 all of its bytes
			n += int64(shape[0]) * int64((shape[1]+31)/32) * 34
		default:
			n += kernels.DenseWeightBytes(shape[0], shape[1], held)
		}
	})
	return n
}

// WeightBytesOn is WeightBytes in the layout of a device.
func (c *Config) WeightBytesOn(s kernels.Sizes, t kernels.DType) int64 {
	var n int64
	c.eachShape(func(name string, shape []int) {
		if len(shape) == 1 {
			n += 4 * int64(shape[0])
		} else {
			n += s.Weight(shape[0], shape[1], c.HeldAs(name, t))
		}
	})
	return n
}

// Products are the shapes of a layer's matrices, those that share an input together.
func (c *Config) Products() (all [][]kernels.Shape) {
	last := ""
	for _, p := range projs {
		s, input := kernels.Shape{N: p.out(c), K: p.in(c)}, inputOf(p.name+".weight")
		if n := len(all); input == last {
			all[n-1] = append(all[n-1], s)
		} else {
			all = append(all, []kernels.Shape{s})
		}
		last = input
	}
	return all
}

// PackedAtOnce is the most elements that a load packs with one call.
func (c *Config) PackedAtOnce() (n int) {
	c.eachShape(func(_ string, shape []int) {
		if len(shape) == 2 {
			n = max(n, min(shape[0], chunkRows(shape[1]))*shape[1])
		}
	})
	return n
}

// TrainBytes is what full fine-tuning adds to WeightBytes: F32 masters, gradients and AdamW's two moments.
func (c *Config) TrainBytes() int64 { return 16 * c.Parameters() }

// KVBytes is what a token occupies in a KV cache of type t.
func (c *Config) KVBytes(t kernels.DType) int64 {
	return 2 * int64(c.Layers) * int64(dimGD(c)) * int64(t.Size())
}

// KVSpec describes a cache for such a model.
func (c *Config) KVSpec(pages int, t kernels.DType) kernels.KVSpec {
	return kernels.KVSpec{Layers: c.Layers, Pages: pages, KVHeads: c.KVHeads, HeadDim: c.HeadDim, Type: t}
}

// WorkspaceBytes is what NewWorkspace of a model of type t takes on a device for maxTokens tokens, without what grows
// with slots, positions, rank and batch.
func (c *Config) WorkspaceBytes(s kernels.Sizes, t kernels.DType, maxTokens int, o WorkspaceOptions) int64 {
	w := &Workspace{m: &Model{Config: c, DType: t, sizes: s}, max: maxTokens, o: o}
	a := newArena()
	w.lay(a)
	return a.bytes
}

// RankBytes is what WorkspaceOptions.Rank adds to that.
func (c *Config) RankBytes(maxTokens int, o WorkspaceOptions) int64 {
	w := &Workspace{m: &Model{Config: c}, max: maxTokens, o: o}
	n := w.lows()
	if o.Keep {
		n += sharing
	}
	return 4 * int64(n) * int64(maxTokens) * int64(o.Rank)
}

// FLOPs is the arithmetic of one token at position pos, forward: 2 a weight that it is multiplied with, and attention
// over pos+1 keys. logits says whether the output matrix is applied to it. Training costs three times that (the
// backward is two forwards), with a frozen base about twice.
func (c *Config) FLOPs(pos int, logits bool) int64 {
	var n int64
	for _, p := range projs {
		n += 2 * int64(p.out(c)) * int64(p.in(c))
	}
	n += 4 * int64(dimHD(c)) * int64(pos+1)
	n *= int64(c.Layers)
	if logits {
		n += 2 * int64(c.Vocab) * int64(c.Hidden)
	}
	return n
}
