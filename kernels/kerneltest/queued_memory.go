package kerneltest

import (
	"bytes"

	"github.com/zerosearch-go/zerosearch/kernels"
)

// queuedOwner is the life of something that a Queued device has given out. It is freed behind the work that was
// queued before.
type queuedOwner struct {
	q     *queued
	free  func()
	freed bool
}

func (o *queuedOwner) Free() {
	o.q.direct("Free")
	defer o.q.mu.Unlock()
	if o.freed {
		panic("kerneltest: second Free")
	}
	o.freed = true
	o.q.queue = append(o.q.queue, queuedWork{name: "Free", f: o.free, always: true})
}

// ownerOf is the life of what an operation was given; nil of what has none.
func ownerOf(arg any) *queuedOwner {
	switch x := arg.(type) {
	case kernels.Tensor:
		switch b := x.Buf.(type) {
		case *queuedBuffer:
			return &b.queuedOwner
		case *queuedList:
			return &b.b.queuedOwner
		}
	case *queuedWeight:
		return &x.queuedOwner
	case *queuedKV:
		return &x.queuedOwner
	case *queuedBatch:
		return &x.queuedOwner
	}
	return nil
}

type queuedBuffer struct {
	queuedOwner
	inner kernels.Buffer
}

func (b *queuedBuffer) Bytes() int64 { return b.inner.Bytes() }

type queuedWeight struct {
	queuedOwner
	inner kernels.Weight
}

func (w *queuedWeight) Shape() (n, k int)   { return w.inner.Shape() }
func (w *queuedWeight) Type() kernels.DType { return w.inner.Type() }
func (w *queuedWeight) Bytes() int64        { return w.inner.Bytes() }

type queuedKV struct {
	queuedOwner
	inner kernels.KV
}

func (x *queuedKV) Spec() kernels.KVSpec { return x.inner.Spec() }
func (x *queuedKV) Bytes() int64         { return x.inner.Bytes() }

type queuedBatch struct {
	queuedOwner
	inner  kernels.Batch
	layout kernels.Layout // as the caller sees it; the inner batch has it when its turn comes
}

func (b *queuedBatch) Spec() kernels.BatchSpec { return b.inner.Spec() }
func (b *queuedBatch) Bytes() int64            { return b.inner.Bytes() }
func (b *queuedBatch) Tokens() int             { return len(b.layout.IDs) }
func (b *queuedBatch) IDs() kernels.Tensor     { return b.list(kernels.Batch.IDs, len(b.layout.IDs)) }
func (b *queuedBatch) Pos() kernels.Tensor     { return b.list(kernels.Batch.Pos, len(b.layout.Pos)) }
func (b *queuedBatch) Slots() kernels.Tensor   { return b.list(kernels.Batch.Slots, len(b.layout.Slots)) }
func (b *queuedBatch) Rows() kernels.Tensor    { return b.list(kernels.Batch.Rows, len(b.layout.Rows)) }

func (b *queuedBatch) list(of func(kernels.Batch) kernels.Tensor, n int) kernels.Tensor {
	return kernels.Mat(&queuedList{b, of}, kernels.I32, 0, n, 1)
}

// queuedList is the buffer of a list of a batch: where it lies is known when the batch has been set.
type queuedList struct {
	b  *queuedBatch
	of func(kernels.Batch) kernels.Tensor
}

func (x *queuedList) Bytes() int64 { return x.b.Bytes() }
func (x *queuedList) Free()        { panic("kerneltest: Free of a batch's list") }

// in is t as the inner device knows it.
func (q *queued) in(t kernels.Tensor) kernels.Tensor {
	switch b := t.Buf.(type) {
	case *queuedBuffer:
		t.Buf = b.inner
	case *queuedList:
		list := b.of(b.b.inner)
		t.Buf, t.Off = list.Buf, t.Off+list.Off
	}
	return t
}

func (q *queued) each(ts []kernels.Tensor) []kernels.Tensor {
	out := make([]kernels.Tensor, len(ts))
	for i, t := range ts {
		out[i] = q.in(t)
	}
	return out
}

func innerWeight(w kernels.Weight) kernels.Weight {
	if x, ok := w.(*queuedWeight); ok {
		return x.inner
	}
	return w
}

func innerKV(kv kernels.KV) kernels.KV {
	if x, ok := kv.(*queuedKV); ok {
		return x.inner
	}
	return kv
}

func innerBatch(b kernels.Batch) kernels.Batch {
	if x, ok := b.(*queuedBatch); ok {
		return x.inner
	}
	return b
}

// Name is that of the device behind it.
func (q *queued) Name() string { return q.inner.Name() }

// Operand is that of the device behind it.
func (q *queued) Operand(t kernels.DType) kernels.DType { return q.inner.Operand(t) }

// Alloc takes effect at once.
func (q *queued) Alloc(n int64) (kernels.Buffer, error) {
	q.direct("Alloc")
	defer q.mu.Unlock()
	b, err := q.inner.Alloc(n)
	if err != nil {
		return nil, err
	}
	return &queuedBuffer{queuedOwner{q: q, free: b.Free}, b}, nil
}

// NewWeight takes effect at once.
func (q *queued) NewWeight(n, k int, t kernels.DType) (kernels.Weight, error) {
	q.direct("NewWeight")
	defer q.mu.Unlock()
	w, err := q.inner.NewWeight(n, k, t)
	if err != nil {
		return nil, err
	}
	return &queuedWeight{queuedOwner{q: q, free: w.Free}, w}, nil
}

// NewKV takes effect at once.
func (q *queued) NewKV(s kernels.KVSpec) (kernels.KV, error) {
	q.direct("NewKV")
	defer q.mu.Unlock()
	kv, err := q.inner.NewKV(s)
	if err != nil {
		return nil, err
	}
	return &queuedKV{queuedOwner{q: q, free: kv.Free}, kv}, nil
}

// NewBatch takes effect at once.
func (q *queued) NewBatch(s kernels.BatchSpec) (kernels.Batch, error) {
	q.direct("NewBatch")
	defer q.mu.Unlock()
	b, err := q.inner.NewBatch(s)
	if err != nil {
		return nil, err
	}
	return &queuedBatch{queuedOwner: queuedOwner{q: q, free: b.Free}, inner: b}, nil
}

// Upload copies src at once.
func (q *queued) Upload(dst kernels.Tensor, src []byte) {
	src = bytes.Clone(src)
	q.later("Upload", func() { q.inner.Upload(q.in(dst), src) }, dst)
}

// PackHost copies rows at once.
func (q *queued) PackHost(w kernels.Weight, row0 int, rows []byte, src kernels.DType) {
	rows = bytes.Clone(rows)
	q.later("PackHost", func() { q.inner.PackHost(innerWeight(w), row0, rows, src) }, w)
}

// Pack is queued.
func (q *queued) Pack(w kernels.Weight, row0 int, rows kernels.Tensor) {
	q.later("Pack", func() { q.inner.Pack(innerWeight(w), row0, q.in(rows)) }, w, rows)
}

// Unpack is queued.
func (q *queued) Unpack(dst kernels.Tensor, w kernels.Weight, row0 int) {
	q.later("Unpack", func() { q.inner.Unpack(q.in(dst), innerWeight(w), row0) }, dst, w)
}

// Fetch fills dst with canaries until somebody waits.
func (q *queued) Fetch(dst []byte, src kernels.Tensor) kernels.Ticket {
	q.direct("Fetch")
	defer q.mu.Unlock()
	q.check("Fetch", []any{src})
	for _, t := range q.fetches {
		if overlaps(t.dst, dst) {
			panic("kerneltest: Fetch into memory that another Fetch has until its Wait")
		}
	}
	for i := range dst {
		dst[i] = canary[i%len(canary)]
	}
	t := &queuedTicket{q: q, dst: dst}
	q.fetches = append(q.fetches, t)
	q.queue = append(q.queue, queuedWork{name: "Fetch", ticket: t, f: func() {
		if err := q.inner.Fetch(dst, q.in(src)).Wait(); err != nil {
			q.note(err)
		}
	}})
	return t
}

// Sync does all that was queued.
func (q *queued) Sync() error {
	q.direct("Sync")
	defer q.mu.Unlock()
	q.run(nil)
	if err := q.inner.Sync(); err != nil {
		q.note(err)
	}
	return q.err
}

// Close does all that was queued and closes the device behind it.
func (q *queued) Close() error {
	q.direct("Close")
	defer q.mu.Unlock()
	q.run(nil)
	return q.inner.Close()
}

// SetBatch checks and copies l at once; what draws point to is read when they are made.
func (q *queued) SetBatch(b kernels.Batch, l *kernels.Layout, kv kernels.KV, ids kernels.Tensor,
	fed []kernels.SampledInput) {
	x := b.(*queuedBatch)
	var spec kernels.KVSpec
	if kv != nil {
		spec = kv.Spec()
	}
	if err := l.Check(x.Spec(), spec); err != nil {
		panic("kerneltest: SetBatch: " + err.Error())
	}
	layout := new(kernels.Layout)
	layout.CopyFrom(l)
	fed = append([]kernels.SampledInput{}, fed...)
	q.later("SetBatch", func() { q.inner.SetBatch(x.inner, layout, innerKV(kv), q.in(ids), fed) }, x, kv, ids)
	x.layout.CopyFrom(l)
}
