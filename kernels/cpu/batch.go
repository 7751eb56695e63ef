package cpu

import (
	"fmt"

	"github.com/zerosearch-go/zerosearch/kernels"
)

// batch is a layout with what all layers of a pass derive from it: the jobs of attention, forward and backward.
type batch struct {
	kernels.HostBatch
	lastID       int32 // the largest of the ids, -1 without any
	lastPos      int32
	pages        int          // of the cache that it was set for
	forward      attnPlan     // the jobs for forwardHeads
	groups       []shareGroup // for the backward; nil: not computed yet
	forwardHeads attnHeads
}

// attnHeads are the shapes that the jobs of attention depend on. The zero value: there is no plan yet.
type attnHeads struct{ heads, kvHeads, width int }

// NewBatch allocates a batch.
func (d *Device) NewBatch(s kernels.BatchSpec) (kernels.Batch, error) {
	if s.Tokens < 0 || s.Segments < 0 || s.Pages < 0 || s.Rows < 0 {
		panic(fmt.Sprintf("cpu: NewBatch: %+v", s))
	}
	buf, err := newBuffer(kernels.HostBatchBytes(s))
	if err != nil {
		return nil, fmt.Errorf("a batch of %d tokens: %w", s.Tokens, err)
	}
	b := &batch{HostBatch: kernels.HostBatch{Room: s, Buf: buf}}
	all := elems[int32](buf.mem)
	part := func(from, n int) []int32 { return all[from : from : from+n] }
	b.Layout.IDs, b.Layout.Pos, b.Layout.Slots = part(0, s.Tokens), part(s.Tokens, s.Tokens), part(2*s.Tokens, s.Tokens)
	b.Layout.Rows = part(3*s.Tokens, s.Rows)
	return b, nil
}

// SetBatch copies l into b. Its lists are stored in b's buffer.
func (d *Device) SetBatch(kb kernels.Batch, l *kernels.Layout, c kernels.KV, ids kernels.Tensor,
	fed []kernels.SampledInput) {
	const op = "SetBatch"
	b := asBatch(op, kb)
	var spec kernels.KVSpec
	if c != nil {
		spec = asKV(op, c, 0).spec
	}
	if err := l.Check(b.Room, spec); err != nil {
		panic("cpu: SetBatch: " + err.Error())
	}
	b.CopyFrom(l)
	if len(fed) > 0 {
		from := i32(ids)
		for _, f := range fed {
			b.Layout.IDs[f.Row] = from[int(f.From)*ids.Stride]
		}
	}
	var err error
	if b.lastID, b.lastPos, err = b.Largest(); err != nil {
		panic("cpu: SetBatch: " + err.Error())
	}
	b.pages = spec.Pages
	b.forwardHeads, b.groups = attnHeads{}, nil
}

// asBatch converts b to a batch of this package, or panics.
func asBatch(op string, b kernels.Batch) *batch {
	x, ok := b.(*batch)
	if !ok {
		panic(fmt.Sprintf("cpu: %s: a batch of another device: %T", op, b))
	}
	return x
}

// sameRows is asBatch for an operation on tensors of n rows, which must be the number of tokens.
func sameRows(op string, b kernels.Batch, n int) *batch {
	x := asBatch(op, b)
	if n != x.Tokens() {
		panic(fmt.Sprintf("cpu: %s: %d rows of a batch of %d tokens", op, n, x.Tokens()))
	}
	return x
}

// checkIDs panics unless all ids of the batch are below n.
func (b *batch) checkIDs(op string, n int) {
	if int(b.lastID) >= n {
		panic(fmt.Sprintf("cpu: %s: id %d: there are %d rows", op, b.lastID, n))
	}
}

// checkCache panics unless the batch was set for a cache of x's pages.
func (b *batch) checkCache(op string, x *kv) {
	if b.Tokens() > 0 && b.pages != x.spec.Pages {
		panic(fmt.Sprintf("cpu: %s: a cache of %d pages, and a batch that was set for %d", op, x.spec.Pages, b.pages))
	}
}
