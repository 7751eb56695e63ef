package engine

import "github.com/zerosearch-go/zerosearch/kernels"

// The scratch of package kernels/cpu, which the operations of all models share: packed operands and panels, logits of the losses,
// pieces of attention. It is bounded there; these are the bounds.
const (
	packedBytes = 16 << 20 // packed rows of a product
	madeBytes   = 1 << 20  // panels made for a product, a thread; two panels at least
	lossRows    = 1024
	lossCols    = 1024 // with so many rows; up to 16 times that with fewer
	backRows    = 64   // a block of attention's backward ...
	backKeys    = 256  // ... and keys
	sharing     = 3    // projections that share an input
)

// The heap of the program: the runtime, staging of loads, what requests hold; and a tokenizer's tables, for every token. Measured.
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

// scratch is the sum of the largest of each kind on a device, and a quarter as it grows in steps.
func (p Plan) scratch(device string) int64 {
	threads := int64(p.threads(device))
	var packed, made, loss, attention, adapters int64
	for i := range p.Models {
		x := &p.Models[i]
		c := x.Config
		if p.deviceOf(x) != device {
			continue
		}
		size := int64(2)
		if x.DType == kernels.F32 {
			size = 4
		}
		wide := int64(max(c.Hidden, c.Inter, c.Heads*c.HeadDim))
		rows := func(t int64) {
			packed = max(packed, min(packedBytes, size*t*wide))
			adapters = max(adapters, 4*sharing*int64(x.rank())*max(t, 2*wide)) // u, or gradients and A turned
		}
		if x.Engine != nil {
			o := x.Engine.ModelOptions
			if o.MaxBatchTokens == 0 {
				o.MaxBatchTokens = defaultBatchTokens
			}
			rows(int64(o.MaxBatchTokens))
		}
		for _, s := range []*PlanPass{x.Train, x.Score} {
			if s == nil {
				continue
			}
			t := int64(s.Tokens)
			rows(t)
			n := min(t, lossRows)
			loss = max(loss, 4*n*min(max(lossRows*lossCols/n, lossCols), 16*lossCols, roundUp(c.Vocab, lossCols)))
			if s == x.Train {
				made = max(made, madeBytes, 2*32*size*max(wide, t))
				attention = max(attention, backward(c.HeadDim, int64(s.longest()), size))
			}
		}
		attention = max(attention, int64(128*c.HeadDim*8+64<<10))
	}
	return (packed + adapters + loss + threads*(made+attention)) * 5 / 4
}

// backward is a thread's scratch of attention's backward over n tokens: keys and values of a head turned round, their gradients, and
// the blocks.
func backward(dim int, n, size int64) int64 {
	d := roundUp(dim, 32)
	return roundUp(int(n), kernels.PageSize)*d*(2*size+8) + backRows*(6*size*d+4*d+backKeys*(8+size)) + 4*backKeys*backRows
}
