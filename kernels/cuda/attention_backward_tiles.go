package cuda

import (
	"strconv"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/cuda/internal/gpu"
)

// backwardWidest is the largest head for which backward has kernels on tensor cores: four tiles of a larger one do not
// fit into shared memory.
const backwardWidest = 128

// backwardTiles rounds q and dy to BF16 first: each is read once for every page.
func (d *Device) backwardTiles(a *attend, g *gradients, width int) {
	s, w := a.kv.spec, a.b.work
	size := operandBytes(a.rows, a.q.Cols)
	q := d.need(forAttention, 2*size)
	dy := q + gpu.Ptr(size)
	d.launch("attention_operands", line(ceil(a.rows*a.heads, 4), 128),
		d.arg().Ptr(g.delta).Ptr(q).Ptr(dy).Ptr(a.qp).Long(int64(a.q.Stride)).
			Ptr(g.dy).Long(g.ldDy).Ptr(g.y).Long(g.ldY).Int(a.rows).Int(a.heads).Int(s.HeadDim))
	operands := func(x *gpu.Args) *gpu.Args {
		return x.Ptr(q).Ptr(dy).Ptr(g.lse).Long(g.ldL).Ptr(g.delta).Ptr(a.kv.keys(a.layer)).Ptr(a.kv.values(a.layer)).
			Int(a.heads).Int(s.KVHeads).Int(s.HeadDim).Float(a.scale)
	}
	name, row := strconv.Itoa(width), 2*width+16
	d.launch("attention_dq_"+name, gpu.Grid{X: (w.tiles + w.decodes) * a.heads, Y: 1, Z: 1, Threads: 128,
		Dynamic: 4 * 64 * row},
		operands(d.arg().Ptr(g.dq).Long(g.ldDq)).Ptr(a.b.tiles()).Int(w.tiles).Ptr(a.b.decodes()).Ptr(a.b.segOf()).
			Ptr(a.b.segs()).Ptr(a.b.pageTable()))
	list, uses := d.pageUses(a.b)
	d.launch("attention_dkv_"+name, gpu.Grid{X: a.b.used.pages, Y: s.KVHeads, Z: 1, Threads: 128,
		Dynamic: (2*64+2*kernels.PageSize)*row + 2*64*4},
		operands(d.arg().Ptr(g.dk).Long(g.ldDk).Ptr(g.dv).Long(g.ldDv)).Ptr(a.b.segs()).Ptr(list).Ptr(uses))
}

// operandBytes is the size of q, or dy, rounded to BF16.
func operandBytes(rows, cols int) int64 { return aligned(2 * int64(rows) * int64(cols)) }
