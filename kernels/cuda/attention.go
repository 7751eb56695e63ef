package cuda

import (
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/cuda/internal/gpu"
)

// attend has what forward and backward share: a call whose arguments were checked.
type attend struct {
	kv          *kv
	b           *batch
	layer       int
	rows, heads int // T, H
	scale       float32
	q           kernels.Tensor
	qp          gpu.Ptr
}

func (d *Device) attend(op string, q kernels.Tensor, c kernels.KV, layer int, kb kernels.Batch, scale float32) attend {
	x := d.kv(op, c, layer)
	qp := d.f32(op, "q", q, -1, -1)
	b := d.over(op, kb, q.Rows, x)
	if q.Cols == 0 || q.Cols%(x.spec.HeadDim*x.spec.KVHeads) != 0 {
		fail(op, "q is %v, for a cache of %d heads of %d", q, x.spec.KVHeads, x.spec.HeadDim)
	}
	if q.Rows > 0 && len(b.Segs) == 0 {
		fail(op, "the batch has no segments")
	}
	return attend{x, b, layer, q.Rows, q.Cols / x.spec.HeadDim, scale, q, qp}
}

// suffix is the cache's type in the names of kernels.
func (a *attend) suffix() string { return "_" + a.kv.spec.Type.String() }

// Attention of BF16 caches runs on tensor cores where there is a kernel for D, else row by row.
func (d *Device) Attention(y, q, lse kernels.Tensor, c kernels.KV, layer int, kb kernels.Batch, scale float32) {
	const op = "Attention"
	a := d.attend(op, q, c, layer, kb, scale)
	out := output{p: d.f32(op, "y", y, a.rows, q.Cols), ld: int64(y.Stride)}
	if !lse.IsZero() {
		out.lse, out.ldl = d.f32(op, "lse", lse, a.rows, a.heads), int64(lse.Stride)
	}
	if a.rows == 0 {
		return
	}
	if w := a.tileWidth(); w > 0 {
		d.attentionTiles(&a, out, w)
	} else {
		d.attentionPlain(&a, out)
	}
}

// output has the addresses that Attention writes to: rows of y and, where it is given, of lse.
type output struct {
	p   gpu.Ptr
	ld  int64
	lse gpu.Ptr
	ldl int64
}

func (d *Device) attentionPlain(a *attend, out output) {
	s := a.kv.spec
	grid := gpu.Grid{X: ceil(a.rows*a.heads, 4), Y: ceil(s.HeadDim, 128), Z: 1, Threads: 128}
	d.launch("attention"+a.suffix(), grid, d.arg().Ptr(out.p).Long(out.ld).Ptr(out.lse).Long(out.ldl).Ptr(a.qp).
		Long(int64(a.q.Stride)).
		Ptr(a.kv.keys(a.layer)).Ptr(a.kv.values(a.layer)).Ptr(a.b.segOf()).Ptr(a.b.segs()).Ptr(a.b.pageTable()).
		Int(a.rows).Int(a.heads).Int(s.KVHeads).Int(s.HeadDim).Float(a.scale))
}
