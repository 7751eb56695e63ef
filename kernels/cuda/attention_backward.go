package cuda

import (
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/cuda/internal/gpu"
)

// AttentionBackward is three kernels: delta, then dq by rows, then dk and dv by pages.
func (d *Device) AttentionBackward(dq, dk, dv, dy, y, q, lse kernels.Tensor, c kernels.KV, layer int, kb kernels.Batch,
	scale float32) {
	const op = "AttentionBackward"
	d.outside(op)
	a := d.attend(op, q, c, layer, kb, scale)
	s := a.kv.spec
	slots, width := s.Pages*kernels.PageSize, s.KVHeads*s.HeadDim
	g := gradients{
		dy: d.f32(op, "dy", dy, a.rows, q.Cols), ldDy: int64(dy.Stride), y: d.f32(op, "y", y, a.rows, q.Cols),
		ldY: int64(y.Stride),
		lse: d.f32(op, "lse", lse, a.rows, a.heads), ldL: int64(lse.Stride),
		dq: d.f32(op, "dq", dq, a.rows, q.Cols), ldDq: int64(dq.Stride),
		dk: d.f32(op, "dk", dk, slots, width), ldDk: int64(dk.Stride), dv: d.f32(op, "dv", dv, slots, width),
		ldDv: int64(dv.Stride),
	}
	if a.rows == 0 {
		return
	}
	g.delta = d.need(forPartials, deltaBytes(a.rows, a.heads))
	if w := a.tileWidth(); w > 0 && w <= backwardWidest {
		d.backwardTiles(&a, &g, w)
		return
	}
	d.launch("attention_delta", line(ceil(a.rows*a.heads, 4), 128),
		d.arg().Ptr(g.delta).Ptr(g.dy).Long(g.ldDy).Ptr(g.y).Long(g.ldY).
			Int(a.rows).Int(a.heads).Int(s.HeadDim))
	d.backwardPlain(&a, &g)
}

// deltaBytes is the size of the sums of dy*y, one for each row and head.
func deltaBytes(rows, heads int) int64 { return 4 * int64(rows) * int64(heads) }

// gradients are the addresses and row lengths of the tensors of AttentionBackward.
type gradients struct {
	dy, y, lse, delta, dq, dk, dv    gpu.Ptr
	ldDy, ldY, ldL, ldDq, ldDk, ldDv int64
}

// rows adds the parameters that both kernels have.
func (g *gradients) rows(x *gpu.Args, a *attend) *gpu.Args {
	return x.Ptr(g.dy).Long(g.ldDy).Ptr(a.qp).Long(int64(a.q.Stride)).Ptr(g.lse).Long(g.ldL).Ptr(g.delta).
		Int(a.heads).Int(a.kv.spec.KVHeads).Int(a.kv.spec.HeadDim).Float(a.scale).Ptr(a.kv.keys(a.layer)).
		Ptr(a.kv.values(a.layer))
}

func (d *Device) backwardPlain(a *attend, g *gradients) {
	s := a.kv.spec
	grid := gpu.Grid{X: ceil(a.rows*a.heads, 4), Y: ceil(s.HeadDim, 128), Z: 1, Threads: 128}
	d.launch("attention_dq"+a.suffix(), grid, g.rows(d.arg().Ptr(g.dq).Long(g.ldDq),
		a).Ptr(a.b.segOf()).Ptr(a.b.segs()).Ptr(a.b.pageTable()).Int(a.rows))

	list, uses := d.pageUses(a.b)
	// keys, values, then 8 rows of q and dy and their probabilities and gradients of scores: see the kernel.
	shared := 4 * (2*kernels.PageSize*(s.HeadDim|1) + 2*8*s.HeadDim + 2*8*kernels.PageSize)
	if shared > d.props.Shared {
		fail("AttentionBackward", "heads of %d do not fit into %d bytes of shared memory", s.HeadDim, d.props.Shared)
	}
	grid = gpu.Grid{X: a.b.used.pages, Y: s.KVHeads, Z: ceil(s.HeadDim, 128), Threads: 256, Dynamic: shared}
	d.launch("attention_dkv"+a.suffix(), grid, g.rows(d.arg().Ptr(g.dk).Long(g.ldDk).Ptr(g.dv).Long(g.ldDv),
		a).Ptr(a.b.segs()).Ptr(list).Ptr(uses))
}

// used says which segments use which page of a batch: gradients of keys and values are summed over these. It is
// computed at the first backward, and lies on the GPU as {page, first use} of each page that is used, and then the
// uses, {segment, number of the page in it}.
type used struct {
	buf   *buffer
	known bool // computed for the present layout
	pages int
	words []uint32
	index []int32 // of each page of the cache: its place in the list, and 1 more
}

// usesBytes is the size of the list of pages and the uses.
func usesBytes(s kernels.BatchSpec) int64 { return 4 * int64(4*s.Pages+2) }

// pageUses are the addresses of the list of pages and of the uses.
func (d *Device) pageUses(b *batch) (list, uses gpu.Ptr) {
	u := &b.used
	if !u.known {
		u.make(b.Segs, b.pages, b.spec.Pages)
	}
	if u.buf == nil {
		var err error
		if u.buf, err = d.alloc(usesBytes(b.spec)); err != nil {
			d.note(err)
			return 0, 0
		}
	}
	if !u.known && d.err == nil {
		d.note(d.gpu.Upload(u.buf.p, bytesOf(u.words)))
		u.known = true
	}
	return u.buf.p, u.buf.p + gpu.Ptr(8*(u.pages+1))
}

// make fills u: it counts the uses of each page, in the order in which pages appear, and lists them, segments
// ascending.
func (u *used) make(segs []kernels.Segment, cachePages, most int) {
	if len(u.index) < cachePages {
		u.index = make([]int32, cachePages)
	}
	clear(u.index)
	if cap(u.words) < 4*most+2 {
		u.words = make([]uint32, 4*most+2)
	}
	list := u.words[:2*most+2]
	u.pages = 0
	total := 0
	for i := range segs {
		for _, p := range pagesOf(&segs[i]) {
			if u.index[p] == 0 {
				list[2*u.pages], list[2*u.pages+1] = uint32(p), 0
				u.pages++
				u.index[p] = int32(u.pages)
			}
			list[2*u.index[p]-1]++
			total++
		}
	}
	next := uint32(0)
	for i := range u.pages {
		n := list[2*i+1]
		list[2*i+1] = next
		next += n
	}
	list[2*u.pages], list[2*u.pages+1] = 0, next
	u.words = u.words[:2*u.pages+2+2*total]
	uses := u.words[2*u.pages+2:]
	for i := range segs {
		for j, p := range pagesOf(&segs[i]) {
			at := &list[2*u.index[p]-1]
			uses[2**at], uses[2**at+1] = uint32(i), uint32(j)
			*at++
		}
	}
	for i := u.pages - 1; i > 0; i-- { // each first use has moved to that of the next page
		list[2*i+1] = list[2*i-1]
	}
	list[1] = 0
}

// pagesOf are the pages of s that its rows attend to.
func pagesOf(s *kernels.Segment) []int32 {
	if s.Len == 0 {
		return nil
	}
	return s.Pages[:ceil(s.Start+s.Len, kernels.PageSize)]
}
