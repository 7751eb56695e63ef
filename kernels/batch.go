package kernels

import "fmt"

// Layout describes the T rows of a pass, on the host: the tokens of some sequences, and the rows whose outputs are
// needed.
type Layout struct {
	IDs   []int32 // [T] tokens, each below the vocabulary
	Pos   []int32 // [T] positions within the sequence
	Slots []int32 // [T] slots of the cache, where keys and values go
	// Segs are the sequences that the rows belong to: every row is in exactly one. They may be left out where there is
	// no attention.
	Segs []Segment
	// Rows lists the rows whose outputs are needed (to be sampled or scored), in any order.
	Rows []int32
	// Draws[i] says how the next id of Rows[i] is sampled. There may be fewer Draws than Rows. The lists in a Sampling
	// must not change until the id has been drawn.
	Draws []Sampling

	pages []int32 // memory for the page tables, used by CopyFrom
}

// BatchSpec is the capacity of a batch: tokens, segments, entries of all page tables together, and output rows.
type BatchSpec struct{ Tokens, Segments, Pages, Rows int }

// Batch is a Layout on a device. It is set once per pass, with one validation and one transfer, and every operation of
// the pass reads it. Its memory does not move, so that a recorded pass can be replayed with another layout.
type Batch interface {
	Spec() BatchSpec
	// Tokens is T of the layout that was set last.
	Tokens() int
	// IDs, Pos and Slots are I32 [T, 1], Rows is I32 [len(Rows), 1].
	IDs() Tensor
	Pos() Tensor
	Slots() Tensor
	Rows() Tensor
	Bytes() int64
	Free()
}

// Check returns what is wrong with l for a batch of size s: lengths that disagree, and segments that overlap, leave
// rows out or reach beyond their pages. Pages and slots must lie within a cache of kv.Pages pages. With 0 pages there
// is no cache, and slots may be left out.
func (l *Layout) Check(s BatchSpec, kv KVSpec) error {
	t := len(l.IDs)
	if len(l.Pos) != t || len(l.Slots) != t && kv.Pages > 0 || len(l.Draws) > len(l.Rows) {
		return fmt.Errorf("%d ids, %d positions, %d slots, %d draws of %d rows", t, len(l.Pos), len(l.Slots),
			len(l.Draws), len(l.Rows))
	}
	pages := 0
	for i := range l.Segs {
		pages += len(l.Segs[i].Pages)
	}
	if t > s.Tokens || len(l.Segs) > s.Segments || pages > s.Pages || len(l.Rows) > s.Rows {
		return fmt.Errorf("%d tokens, %d segments, %d pages and %d rows do not fit into %+v", t, len(l.Segs), pages,
			len(l.Rows), s)
	}
	for i, p := range l.Pos {
		if p < 0 {
			return fmt.Errorf("position %d in row %d", p, i)
		}
	}
	for i, x := range l.Slots {
		if x < 0 || int(x) >= kv.Pages*PageSize {
			return fmt.Errorf("slot %d in row %d: there are %d pages of %d", x, i, kv.Pages, PageSize)
		}
	}
	for i, r := range l.Rows {
		if r < 0 || int(r) >= t {
			return fmt.Errorf("rows[%d] is %d of %d", i, r, t)
		}
	}
	return l.checkSegments(kv)
}

func (l *Layout) checkSegments(kv KVSpec) error {
	if len(l.Segs) == 0 {
		return nil
	}
	rows, last := 0, 0
	ordered := true
	for i := range l.Segs {
		s := &l.Segs[i]
		if s.Row < 0 || s.Len < 0 || s.Start < 0 || s.Row+s.Len > len(l.IDs) || s.Start+s.Len > len(s.Pages)*PageSize {
			return fmt.Errorf("segment %d is row %d, length %d, start %d, %d pages of %d rows", i, s.Row, s.Len,
				s.Start, len(s.Pages), len(l.IDs))
		}
		for _, p := range s.Pages {
			if p < 0 || int(p) >= kv.Pages {
				return fmt.Errorf("segment %d has page %d of %d", i, p, kv.Pages)
			}
		}
		ordered = ordered && (s.Len == 0 || s.Row == last)
		rows, last = rows+s.Len, s.Row+s.Len
	}
	if rows != len(l.IDs) {
		return fmt.Errorf("segments have %d rows of %d", rows, len(l.IDs))
	}
	if ordered {
		return nil
	}
	used := make([]bool, rows)
	for _, s := range l.Segs {
		for r := s.Row; r < s.Row+s.Len; r++ {
			if used[r] {
				return fmt.Errorf("row %d belongs to two segments", r)
			}
			used[r] = true
		}
	}
	return nil
}

// Largest is the largest id and the largest position, -1 where there are none. A negative id is an error.
func (l *Layout) Largest() (id, pos int32, err error) {
	id, pos = -1, -1
	for i, x := range l.IDs {
		if x < 0 {
			return id, pos, fmt.Errorf("id %d in row %d", x, i)
		}
		id = max(id, x)
	}
	for _, x := range l.Pos {
		pos = max(pos, x)
	}
	return id, pos, nil
}

// CopyFrom makes l a deep copy of other, page tables included. It reuses the memory of l.
func (l *Layout) CopyFrom(other *Layout) {
	l.IDs = append(l.IDs[:0], other.IDs...)
	l.Pos = append(l.Pos[:0], other.Pos...)
	l.Slots = append(l.Slots[:0], other.Slots...)
	l.Rows = append(l.Rows[:0], other.Rows...)
	l.Draws = append(l.Draws[:0], other.Draws...)
	l.Segs = append(l.Segs[:0], other.Segs...)
	l.pages = l.pages[:0]
	for i := range l.Segs {
		l.pages = append(l.pages, l.Segs[i].Pages...)
	}
	from := 0
	for i := range l.Segs {
		to := from + len(l.Segs[i].Pages)
		l.Segs[i].Pages = l.pages[from:to:to]
		from = to
	}
}

// Spec is the smallest batch that l fits into.
func (l *Layout) Spec() BatchSpec {
	s := BatchSpec{Tokens: len(l.IDs), Segments: len(l.Segs), Rows: len(l.Rows)}
	for i := range l.Segs {
		s.Pages += len(l.Segs[i].Pages)
	}
	return s
}

// Covers reports whether a batch of size s is enough for one of size t.
func (s BatchSpec) Covers(t BatchSpec) bool {
	return s.Tokens >= t.Tokens && s.Segments >= t.Segments && s.Pages >= t.Pages && s.Rows >= t.Rows
}

// BatchOf makes a batch of the size of l and sets it to l. Lists that l leaves out are filled with zeros. It is meant
// for single operations, which read some of the lists only.
func BatchOf(d Device, l Layout, kv KV) (Batch, error) {
	t := max(len(l.IDs), len(l.Pos), len(l.Slots))
	for _, s := range l.Segs {
		t = max(t, s.Row+s.Len)
	}
	if l.Rows == nil && len(l.Draws) > 0 {
		t = max(t, 1)
		l.Rows = make([]int32, len(l.Draws))
	}
	for _, x := range []*[]int32{&l.IDs, &l.Pos, &l.Slots} {
		if *x == nil && (x != &l.Slots || kv != nil) {
			*x = make([]int32, t)
		}
	}
	b, err := d.NewBatch(l.Spec())
	if err == nil {
		d.SetBatch(b, &l, kv, Tensor{}, nil)
	}
	return b, err
}

// SampledInput is a row whose input id is taken on the device from the ids that an earlier pass sampled: element From
// of the tensor of ids.
type SampledInput struct{ Row, From int32 }

// Ticket is the future of a queued result.
type Ticket interface {
	// Wait waits for the result and returns the first error of the work that was queued before it. It must be called at
	// most once.
	Wait() error
}
