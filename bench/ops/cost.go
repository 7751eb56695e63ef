package ops

import (
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/model"
)

// Cost is the minimal cost of some work: arithmetic operations on operands of a type, and bytes moved between memory
// and the processor.
type Cost struct {
	FLOPs float64
	Type  kernels.DType
	Bytes float64
}

// Span is a forward pass over tokens [Start, Start+N) of each of Batch sequences, the output matrix applied to Logits
// rows of each.
type Span struct{ Batch, Start, N, Logits int }

// Rows is the number of tokens of all sequences.
func (s Span) Rows() float64 { return float64(s.Batch * s.N) }

// The costs of single operations, as they are measured and as the roofline adds them up. Numbers of rows are float64:
// those of a whole step exceed what int can multiply on small machines.

// WeightBytes is the size of a weight [n, k] in bytes, without the padding of a device's layout.
func WeightBytes(n, k int, t kernels.DType) float64 {
	if t == kernels.Q8 {
		return float64(n) * float64((k+31)/32) * 34
	}
	if t == kernels.Q4 {
		return float64(n) * float64(kernels.Q4RowBytes(k))
	}
	return float64(n) * float64(k) * float64(t.Size())
}

// GemmCost counts a product of m rows in F32: 2mkn, and the weight, x and y once.
func GemmCost(m, k, n int, t kernels.DType) Cost { return ProductCost(float64(m), k, n, t, 4) }

// ProductCost is GemmCost for elements of x of that many bytes.
func ProductCost(m float64, k, n int, t kernels.DType, x float64) Cost {
	return Cost{2 * m * float64(k) * float64(n), t, WeightBytes(n, k, t) + m*(x*float64(k)+4*float64(n))}
}

// GradientCost counts the gradient of a weight [n, k] over m rows, which is added to the accumulated gradient.
func GradientCost(m float64, k, n int, t kernels.DType) Cost {
	return Cost{2 * m * float64(k) * float64(n), t, 8*float64(n)*float64(k) + 4*m*float64(k+n)}
}

// LogprobCost counts scoring m rows of k over n ids: a product whose logits are not written to memory.
func LogprobCost(m float64, k, n int, t kernels.DType) Cost {
	c := ProductCost(m, k, n, t, 4)
	c.Bytes -= 4 * m * float64(n)
	return c
}

// LogprobBackwardCost counts recomputing the logits and the two backward products; a frozen output matrix has only one
// of them.
func LogprobBackwardCost(m float64, k, n int, t kernels.DType, dw bool) Cost {
	c := LogprobCost(m, k, n, t)
	if !dw {
		return Cost{2 * c.FLOPs, t, c.Bytes}
	}
	return Cost{3 * c.FLOPs, t, c.Bytes + 8*float64(n)*float64(k)}
}

// Pairs is the number of (query, key) pairs of n rows that begin at position start.
func Pairs(start, n int) float64 { return float64(n)*float64(start) + float64(n)*float64(n+1)/2 }

// Cached is the number of bytes of keys and values that one layer's attention of s reads.
func (s Span) Cached(c *model.Config, t kernels.DType) float64 {
	return float64(s.Batch) * float64(s.Start+s.N) * 2 * float64(c.KVHeads*c.HeadDim*t.Size())
}

// AttentionCost counts the causal half of one layer's attention: 2 products of 2*D a pair.
func AttentionCost(c *model.Config, t kernels.DType, s Span) Cost {
	hd := float64(c.Heads * c.HeadDim)
	return Cost{4 * hd * Pairs(s.Start, s.N) * float64(s.Batch), t, s.Cached(c, t) + 8*s.Rows()*hd}
}

// AttentionBackwardCost counts 5 products a pair, one of them the recomputed scores.
func AttentionBackwardCost(c *model.Config, t kernels.DType, s Span) Cost {
	hd, gd := c.Heads*c.HeadDim, c.KVHeads*c.HeadDim
	return Cost{10 * float64(hd) * Pairs(s.Start, s.N) * float64(s.Batch), t, 4 * s.Rows() * float64(5*hd+4*gd)}
}

// UpdateBytes are moved for a parameter when AdamW's step also packs the weight in BF16 and clears the gradient.
const UpdateBytes = 8*4 + 2
