package cuda

import (
	"fmt"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/cuda/internal/gpu"
)

// batch is a Layout in one piece of the GPU's memory, words of 4 bytes, each list at a place that depends on the spec
// only, so that a recording finds the lists of the layout that was set last:
//
//	ids[T] positions[T] slots[T] fed[T][2] rows[R] segments[S][4] work of attention, draws[R][drawWords] pages[P]
//
// A segment is {row, length, start, first entry in pages}. An entry of fed is {row, element of the tensor of ids}. The
// lists that draws point to are as long as a caller wants and have memory of their own, which may move.
type batch struct {
	kernels.Layout // on the host: how many there are, and how long
	spec           kernels.BatchSpec
	*buffer
	host    []uint32 // what the GPU's memory holds; reused
	written [][2]int // the words of host that the layout has: {from, to}, ascending
	lists   *buffer  // nil without any
	words   []uint32 // of lists; reused
	pages   int      // of the cache that it was set for
	lastID  int32    // the largest, -1 without any
	lastPos int32    // the largest, -1 without any
	fed     bool     // some ids are known to the GPU only
	work    work     // of attention
	used    used     // by its backward
}

// Where the lists of a batch begin, in words. Those that are long in the spec and short in most layouts come last.
func (b *batch) posAt() int   { return b.spec.Tokens }
func (b *batch) slotsAt() int { return 2 * b.spec.Tokens }
func (b *batch) fedAt() int   { return 3 * b.spec.Tokens }
func (b *batch) rowsAt() int  { return 5 * b.spec.Tokens }
func (b *batch) segsAt() int  { return b.rowsAt() + b.spec.Rows }
func (b *batch) workAt() int  { return b.segsAt() + 4*b.spec.Segments }
func (b *batch) drawsAt() int { return b.workAt() + workWords(b.spec) }
func (b *batch) pagesAt() int { return b.drawsAt() + drawWords*b.spec.Rows }
func (b *batch) end() int     { return b.pagesAt() + b.spec.Pages }

// word is the address of word i.
func (b *batch) word(i int) gpu.Ptr { return b.p + gpu.Ptr(4*i) }

// NewBatch allocates the lists of a batch.
func (d *Device) NewBatch(s kernels.BatchSpec) (kernels.Batch, error) {
	if s.Tokens < 0 || s.Segments < 0 || s.Pages < 0 || s.Rows < 0 {
		fail("NewBatch", "%+v", s)
	}
	b := &batch{spec: s}
	buf, err := d.alloc(4 * int64(b.end()))
	if err != nil {
		return nil, fmt.Errorf("a batch of %d tokens: %w", s.Tokens, err)
	}
	b.buffer, b.host = buf, make([]uint32, b.end())
	return b, nil
}

// SetBatch describes l. It is one transfer, or a few where the spec leaves long gaps between the lists.
func (d *Device) SetBatch(kb kernels.Batch, l *kernels.Layout, c kernels.KV, ids kernels.Tensor,
	fed []kernels.SampledInput) {
	const op = "SetBatch"
	d.outside(op)
	b := d.batch(op, kb)
	var spec kernels.KVSpec
	if c != nil {
		spec = d.kv(op, c, 0).spec
	}
	if err := l.Check(b.spec, spec); err != nil {
		fail(op, "%v", err)
	}
	b.CopyFrom(l)
	var err error
	if b.lastID, b.lastPos, err = l.Largest(); err != nil {
		fail(op, "%v", err)
	}
	b.pages, b.fed, b.used.known = spec.Pages, len(fed) > 0, false
	var from gpu.Ptr
	if len(fed) > 0 {
		from = d.tensor(op, "ids", ids, kernels.I32, -1, 1)
	}
	b.written = b.written[:0]
	b.lay(l, ids, fed)
	b.layDraws(d, l.Draws)
	b.layPages(l.Segs)
	if d.err != nil {
		return
	}
	for _, w := range b.written {
		d.note(d.gpu.Upload(b.word(w[0]), bytesOf(b.host[w[0]:w[1]])))
	}
	if len(fed) > 0 {
		d.launch("feed", line(ceil(len(fed), 256), 256), d.arg().Ptr(b.p).Ptr(from).Ptr(b.word(b.fedAt())).
			Int(len(fed)))
	}
}

// Free frees the memory of b, that of attention and draws included.
func (b *batch) Free() {
	b.buffer.Free()
	for _, x := range []**buffer{&b.used.buf, &b.lists} {
		if *x != nil {
			(*x).Free()
			*x = nil
		}
	}
}

// write notes that n words from at on are to be transferred, and returns them. Calls have ascending places. Lists with
// a short gap between them are transferred together.
func (b *batch) write(at, n int) []uint32 {
	const gap = 8192
	if n == 0 {
		return nil
	}
	if k := len(b.written) - 1; k >= 0 && at-b.written[k][1] <= gap {
		b.written[k][1] = at + n
	} else {
		b.written = append(b.written, [2]int{at, at + n})
	}
	return b.host[at : at+n]
}

// lay writes everything to host except draws and pages.
func (b *batch) lay(l *kernels.Layout, ids kernels.Tensor, fed []kernels.SampledInput) {
	words(b.write(0, len(l.IDs)), l.IDs)
	words(b.write(b.posAt(), len(l.Pos)), l.Pos)
	words(b.write(b.slotsAt(), len(l.Slots)), l.Slots)
	pairs := b.write(b.fedAt(), 2*len(fed))
	for i, f := range fed {
		if int(f.Row) >= b.Tokens() || int(f.From) >= ids.Rows || f.Row < 0 || f.From < 0 {
			fail("SetBatch", "row %d of %d is fed id %d of %d", f.Row, b.Tokens(), f.From, ids.Rows)
		}
		pairs[2*i], pairs[2*i+1] = uint32(f.Row), uint32(int(f.From)*ids.Stride)
	}
	words(b.write(b.rowsAt(), len(l.Rows)), l.Rows)
	segs, page := b.write(b.segsAt(), 4*len(l.Segs)), 0
	for i := range l.Segs {
		s := &l.Segs[i]
		segs[4*i], segs[4*i+1], segs[4*i+2], segs[4*i+3] = uint32(s.Row), uint32(s.Len), uint32(s.Start), uint32(page)
		page += len(s.Pages)
	}
	b.layWork(l.Segs)
}

// layPages writes the page tables, one behind the other.
func (b *batch) layPages(segs []kernels.Segment) {
	total := 0
	for i := range segs {
		total += len(segs[i].Pages)
	}
	to := b.write(b.pagesAt(), total)
	for i := range segs {
		words(to, segs[i].Pages)
		to = to[len(segs[i].Pages):]
	}
}

func words(dst []uint32, src []int32) {
	for i, x := range src {
		dst[i] = uint32(x)
	}
}

func (b *batch) Spec() kernels.BatchSpec { return b.spec }
func (b *batch) Tokens() int             { return len(b.Layout.IDs) }
func (b *batch) IDs() kernels.Tensor     { return b.list(0, len(b.Layout.IDs)) }
func (b *batch) Pos() kernels.Tensor     { return b.list(b.posAt(), len(b.Layout.Pos)) }
func (b *batch) Slots() kernels.Tensor   { return b.list(b.slotsAt(), len(b.Layout.Slots)) }
func (b *batch) Rows() kernels.Tensor    { return b.list(b.rowsAt(), len(b.Layout.Rows)) }

// Bytes is the memory of b, that of lists included.
func (b *batch) Bytes() int64 {
	n := b.buffer.Bytes()
	if b.lists != nil {
		n += b.lists.Bytes()
	}
	return n
}

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
	d.uses(x)
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
