package bench

import (
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/model"
)

// The costs of single operations, as they are measured and as the roofline adds them up. Numbers of rows are float64:
// those of a whole step exceed what int can multiply on small machines.

// weightBytes is the size of a weight [n, k] in bytes, without the padding of a device's layout.
func weightBytes(n, k int, t kernels.DType) float64 {
	if t == kernels.Q8 {
		return float64(n) * float64((k+31)/32) * 34
	}
	return float64(n) * float64(k) * float64(t.Size())
}

// gemmCost counts a product of m rows in F32: 2mkn, and the weight, x and y once.
func gemmCost(m, k, n int, t kernels.DType) cost { return productCost(float64(m), k, n, t, 4) }

// productCost is gemmCost for elements of x of that many bytes.
func productCost(m float64, k, n int, t kernels.DType, x float64) cost {
	return cost{2 * m * float64(k) * float64(n), t, weightBytes(n, k, t) + m*(x*float64(k)+4*float64(n))}
}

// gradientCost counts the gradient of a weight [n, k] over m rows, which is added to the accumulated gradient.
func gradientCost(m float64, k, n int, t kernels.DType) cost {
	return cost{2 * m * float64(k) * float64(n), t, 8*float64(n)*float64(k) + 4*m*float64(k+n)}
}

// logprobCost counts scoring m rows of k over n ids: a product whose logits are not written to memory.
func logprobCost(m float64, k, n int, t kernels.DType) cost {
	c := productCost(m, k, n, t, 4)
	c.bytes -= 4 * m * float64(n)
	return c
}

// logprobBackwardCost counts recomputing the logits and the two backward products; a frozen output matrix has only one
// of them.
func logprobBackwardCost(m float64, k, n int, t kernels.DType, dw bool) cost {
	c := logprobCost(m, k, n, t)
	if !dw {
		return cost{2 * c.flops, t, c.bytes}
	}
	return cost{3 * c.flops, t, c.bytes + 8*float64(n)*float64(k)}
}

// pairs is the number of (query, key) pairs of n rows that begin at position start.
func pairs(start, n int) float64 { return float64(n)*float64(start) + float64(n)*float64(n+1)/2 }

// cached is the number of bytes of keys and values that one layer's attention of s reads.
func (s span) cached(c *model.Config, t kernels.DType) float64 {
	return float64(s.batch) * float64(s.start+s.n) * 2 * float64(c.KVHeads*c.HeadDim*t.Size())
}

// attentionCost counts the causal half of one layer's attention: 2 products of 2*D a pair.
func attentionCost(c *model.Config, t kernels.DType, s span) cost {
	hd := float64(c.Heads * c.HeadDim)
	return cost{4 * hd * pairs(s.start, s.n) * float64(s.batch), t, s.cached(c, t) + 8*s.rows()*hd}
}

// attentionBackwardCost counts 5 products a pair, one of them the recomputed scores.
func attentionBackwardCost(c *model.Config, t kernels.DType, s span) cost {
	hd, gd := c.Heads*c.HeadDim, c.KVHeads*c.HeadDim
	return cost{10 * float64(hd) * pairs(s.start, s.n) * float64(s.batch), t, 4 * s.rows() * float64(5*hd+4*gd)}
}

// updateBytes are moved for a parameter when AdamW's step also packs the weight in BF16 and clears the gradient.
const updateBytes = 8*4 + 2
