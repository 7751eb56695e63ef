package cuda

import (
	"fmt"
	"math"
	"unsafe"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/cuda/internal/gpu"
)

// batch is a Layout in one piece of the GPU's memory, words of 4 bytes, each list at a place that depends on the spec only:
//
//	ids[T] positions[T] slots[T] rows[R] segments[S][4] draws[R][drawWords] pages[P] work lists
//
// A segment is {row, length, start, first entry in pages}; work is what attention does, see there. The lists are those that draws point to, in words from the beginning of lists.
type batch struct {
	kernels.Layout // on the host: how many there are, and how long
	spec           kernels.BatchSpec
	*buffer
	host   []uint32 // reused
	lists  int      // words that there is room for
	pages  int      // of the cache that it was set for
	lastID int32    // the largest, -1 without any
	fed    bool     // some ids are known to the GPU only
	work   work     // of attention
	used   used     // by its backward
}

// Words of a draw: a kernels.Sampling whose lists are {first word, length} of the lists.
//
//	0 flags (1: greedy)  1 invTemp  2 topK  3 topP  4 minP  5 stream, low  6 stream, high  7 position  8 never  9 its length
//	10 adjustments, {id, add, scale, sub} each  11 their number
const drawWords = 12

// Where the lists of a batch begin, in words.
func (b *batch) posAt() int   { return b.spec.Tokens }
func (b *batch) slotsAt() int { return 2 * b.spec.Tokens }
func (b *batch) rowsAt() int  { return 3 * b.spec.Tokens }
func (b *batch) segsAt() int  { return b.rowsAt() + b.spec.Rows }
func (b *batch) drawsAt() int { return b.segsAt() + 4*b.spec.Segments }
func (b *batch) pagesAt() int { return b.drawsAt() + drawWords*b.spec.Rows }
func (b *batch) workAt() int  { return b.pagesAt() + b.spec.Pages }
func (b *batch) listsAt() int { return b.workAt() + workWords(b.spec) }

// word is the address of word i.
func (b *batch) word(i int) gpu.Ptr { return b.p + gpu.Ptr(4*i) }

// NewBatch makes room for what a pass is about.
func (d *Device) NewBatch(s kernels.BatchSpec) (kernels.Batch, error) {
	if s.Tokens < 0 || s.Segments < 0 || s.Pages < 0 || s.Rows < 0 {
		fail("NewBatch", "%+v", s)
	}
	b := &batch{spec: s, lists: 64}
	buf, err := d.alloc(4 * int64(b.listsAt()+b.lists))
	if err != nil {
		return nil, fmt.Errorf("a batch of %d tokens: %w", s.Tokens, err)
	}
	b.buffer = buf
	return b, nil
}

// SetBatch describes l: one transfer.
func (d *Device) SetBatch(kb kernels.Batch, l *kernels.Layout, c kernels.KV, ids kernels.Tensor, fed []kernels.Fed) {
	const op = "SetBatch"
	b := d.batch(op, kb)
	var spec kernels.KVSpec
	if c != nil {
		spec = d.kv(op, c, 0).spec
	}
	if err := l.Check(b.spec, spec); err != nil {
		fail(op, "%v", err)
	}
	b.CopyFrom(l)
	b.pages, b.lastID, b.fed, b.used.known = spec.Pages, -1, len(fed) > 0, false
	for i, id := range l.IDs {
		if id < 0 {
			fail(op, "id %d in row %d", id, i)
		}
		b.lastID = max(b.lastID, id)
	}
	b.lay(l)
	if words := len(b.host) - b.listsAt(); words > b.lists {
		d.grow(b, 2*words)
	}
	if d.err == nil && len(b.host) > 0 {
		d.note(d.gpu.Upload(b.p, bytesOf(b.host)))
	}
	d.feed(b, ids, fed)
}

// feed puts sampled ids into the rows of fed, which are few: a kernel a batch.
func (d *Device) feed(b *batch, ids kernels.Tensor, fed []kernels.Fed) {
	const op = "SetBatch"
	if len(fed) == 0 {
		return
	}
	from := d.tensor(op, "ids", ids, kernels.I32, -1, 1)
	pairs := make([]uint32, 0, 2*len(fed))
	for _, f := range fed {
		if int(f.Row) >= b.Tokens() || int(f.From) >= ids.Rows || f.Row < 0 || f.From < 0 {
			fail(op, "row %d of %d is fed id %d of %d", f.Row, b.Tokens(), f.From, ids.Rows)
		}
		pairs = append(pairs, uint32(f.Row), uint32(int(f.From)*ids.Stride))
	}
	p := d.need(forPartials, int64(4*len(pairs)))
	if d.err != nil {
		return
	}
	d.note(d.gpu.Upload(p, bytesOf(pairs)))
	d.launch("feed", line(ceil(len(fed), 256), 256), d.arg().Ptr(b.p).Ptr(from).Ptr(p).Int(len(fed)))
}

// Free frees what attention keeps for b too.
func (b *batch) Free() {
	b.buffer.Free()
	if b.used.buf != nil {
		b.used.buf.Free()
		b.used.buf = nil
	}
}

// grow makes room for so many words of lists.
func (d *Device) grow(b *batch, lists int) {
	buf, err := d.alloc(4 * int64(b.listsAt()+lists))
	if err != nil {
		d.note(fmt.Errorf("the lists of a batch: %w", err))
		return
	}
	b.buffer.Free()
	b.buffer, b.lists = buf, lists
}

// lay writes l to host, as far as there is something in it.
func (b *batch) lay(l *kernels.Layout) {
	n := b.listsAt()
	if cap(b.host) < n {
		b.host = make([]uint32, n, n+b.lists)
	}
	h := b.host[:n]
	words(h, l.IDs)
	words(h[b.posAt():], l.Pos)
	words(h[b.slotsAt():], l.Slots)
	words(h[b.rowsAt():], l.Rows)
	at := b.pagesAt()
	for i := range l.Segs {
		s := &l.Segs[i]
		copy(h[b.segsAt()+4*i:], []uint32{uint32(s.Row), uint32(s.Len), uint32(s.Start), uint32(at - b.pagesAt())})
		words(h[at:], s.Pages)
		at += len(s.Pages)
	}
	end := b.work.lay(h[b.workAt():], b.spec, l.Segs)
	for i := range l.Draws {
		h = b.layDraw(h, b.drawsAt()+drawWords*i, &l.Draws[i])
	}
	switch { // what follows is not read
	case len(h) > n:
	case len(l.Segs) > 0:
		h = h[:b.workAt()+end]
	case len(l.Draws) > 0:
		h = h[:b.pagesAt()]
	default:
		h = h[:b.segsAt()]
	}
	b.host = h
}

// layDraw writes s to word at of h and its lists to h's end.
func (b *batch) layDraw(h []uint32, at int, s *kernels.Sampling) []uint32 {
	flags := uint32(0)
	if s.Greedy {
		flags = 1
	}
	never := len(h) - b.listsAt()
	for _, id := range s.Never {
		h = append(h, uint32(id))
	}
	adjust := len(h) - b.listsAt()
	for _, a := range s.Adjust {
		h = append(h, uint32(a.ID), math.Float32bits(a.Add), math.Float32bits(a.Scale), math.Float32bits(a.Sub))
	}
	copy(h[at:at+drawWords], []uint32{flags, math.Float32bits(s.InvTemp), uint32(s.TopK), math.Float32bits(s.TopP), math.Float32bits(s.MinP),
		uint32(s.Stream), uint32(s.Stream >> 32), uint32(s.Pos), uint32(never), uint32(len(s.Never)), uint32(adjust), uint32(len(s.Adjust))})
	return h
}

func words(dst []uint32, src []int32) {
	for i, x := range src {
		dst[i] = uint32(x)
	}
}

// bytesOf is the memory of x.
func bytesOf(x []uint32) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(&x[0])), 4*len(x))
}

func (b *batch) Spec() kernels.BatchSpec { return b.spec }
func (b *batch) Tokens() int             { return len(b.Layout.IDs) }
func (b *batch) IDs() kernels.Tensor     { return b.list(0, len(b.Layout.IDs)) }
func (b *batch) Pos() kernels.Tensor     { return b.list(b.posAt(), len(b.Layout.Pos)) }
func (b *batch) Slots() kernels.Tensor   { return b.list(b.slotsAt(), len(b.Layout.Slots)) }
func (b *batch) Rows() kernels.Tensor    { return b.list(b.rowsAt(), len(b.Layout.Rows)) }

func (b *batch) list(at, n int) kernels.Tensor { return kernels.Mat(b.buffer, kernels.I32, at, n, 1) }

// batch is b as one of d.
func (d *Device) batch(op string, b kernels.Batch) *batch {
	x, ok := b.(*batch)
	if !ok || x.buffer.d != d {
		fail(op, "a %T that is not, or no longer, a batch of %s", b, d.name)
	}
	return x
}

// rowsOf is batch for an operation on tensors of n rows.
func (d *Device) rowsOf(op string, b kernels.Batch, n int) *batch {
	x := d.batch(op, b)
	if n != x.Tokens() {
		fail(op, "%d rows of a batch of %d tokens", n, x.Tokens())
	}
	return x
}

// over is rowsOf for an operation on a cache.
func (d *Device) over(op string, b kernels.Batch, n int, x *kv) *batch {
	y := d.rowsOf(op, b, n)
	if n > 0 && y.pages != x.spec.Pages {
		fail(op, "a cache of %d pages, and a batch that was set for %d", x.spec.Pages, y.pages)
	}
	return y
}
