package bench

import (
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/model"
)

// passCost is a forward pass over tokens [start, start+n) of each of batch sequences, the output matrix applied to logits rows of
// each. The weights are read once, but for an embedding that is only looked up; keys and values of all positions are read once.
func passCost(c *model.Config, t, kv kernels.DType, batch, start, n, logits int) cost {
	rows := float64(batch * n)
	flops := rows*float64(c.FLOPs(0, false)-attentionFLOPs(c, 1)) + float64(attentionFLOPs(c, 1))*pairs(start, n)*float64(batch)
	flops += float64(batch*logits) * 2 * float64(c.Vocab) * float64(c.Hidden)
	bytes := float64(c.WeightBytes(t)) + float64(batch)*float64(start+n)*float64(c.KVBytes(kv))
	switch head := weightBytes(c.Vocab, c.Hidden, t); {
	case !c.Tied: // the embedding's rows only
		bytes -= head
	case logits == 0:
		bytes -= head
	}
	return cost{flops, t, bytes}
}

// attentionFLOPs are those of one query over n keys, all layers.
func attentionFLOPs(c *model.Config, n int) int64 {
	return 4 * int64(n) * int64(c.Layers) * int64(c.Heads*c.HeadDim)
}

// trainCost is a step on batch sequences of n tokens, all of them in the loss: 6 operations a weight and token (forward 2, backward 4),
// with a frozen base 4, and thrice the causal half of attention; recomputed activations do not count. It is the same count that
// "model FLOPs utilisation" uses (Chowdhery et al., arXiv 2204.02311), lower by the other half of attention. rank is the adapter's.
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
