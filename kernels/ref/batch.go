package ref

import "github.com/zerosearch-go/zerosearch/kernels"

// batch is a batch of this device.
type batch struct{ kernels.HostBatch }

func (d *device) NewBatch(s kernels.BatchSpec) (kernels.Batch, error) {
	if s.Tokens < 0 || s.Segments < 0 || s.Pages < 0 || s.Rows < 0 {
		call{d, "NewBatch"}.fail("%+v", s)
	}
	buf, err := d.Alloc(kernels.HostBatchBytes(s))
	if err != nil {
		return nil, err
	}
	return &batch{kernels.HostBatch{Room: s, Buf: buf}}, nil
}

func (d *device) SetBatch(kb kernels.Batch, l *kernels.Layout, cache kernels.KV, ids kernels.Tensor,
	fed []kernels.SampledInput) {
	c := d.begin("SetBatch")
	defer c.end()
	b := c.batch(kb)
	var spec kernels.KVSpec
	if cache != nil {
		spec = c.kv(cache, 0).spec
	}
	if err := l.Check(b.Room, spec); err != nil {
		c.fail("%v", err)
	}
	b.CopyFrom(l)
	if len(fed) > 0 {
		from := c.ints("ids", ids, ids.Rows, -1)
		for _, f := range fed {
			b.Layout.IDs[f.Row] = from[f.From]
		}
	}
	for _, x := range []struct {
		t kernels.Tensor
		v []int32
	}{{b.IDs(), b.Layout.IDs}, {b.Pos(), b.Layout.Pos}, {b.Slots(), b.Layout.Slots}, {b.Rows(), b.Layout.Rows}} {
		copy(c.ints("batch", x.t, len(x.v), -1), x.v)
	}
}

// batch checks that b is a live batch of this device.
func (c call) batch(b kernels.Batch) *batch {
	x, ok := b.(*batch)
	if !ok {
		c.fail("batch is a %T", b)
	}
	c.alive("batch", &x.Buf.(*buffer).owned)
	return x
}

// rows checks that a tensor has a row for each token of b.
func (c call) rows(what string, n int, b *batch) {
	if n != b.Tokens() {
		c.fail("%s has %d rows, the batch %d tokens", what, n, b.Tokens())
	}
}
