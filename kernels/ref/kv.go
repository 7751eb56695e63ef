package ref

import "github.com/zerosearch-go/zerosearch/kernels"

// kv holds keys and values as [L][S][G*D], rounded to the cache's type.
type kv struct {
	owned
	spec kernels.KVSpec
	k, v []float32
}

func (d *device) NewKV(s kernels.KVSpec) (kernels.KV, error) {
	c := d.begin("NewKV")
	defer c.end()
	if s.Layers < 0 || s.Pages < 0 || s.KVHeads < 1 || s.HeadDim < 1 || s.Type != kernels.F32 &&
		s.Type != kernels.BF16 {
		c.fail("%+v", s)
	}
	n := s.Layers * s.Pages * kernels.PageSize * s.KVHeads * s.HeadDim
	x := &kv{spec: s, k: make([]float32, n), v: make([]float32, n)}
	d.own(x, &x.owned)
	return x, nil
}

func (x *kv) Spec() kernels.KVSpec { return x.spec }

func (x *kv) Bytes() int64 { return kernels.DenseKVBytes(x.spec) }

func (x *kv) Free() {
	x.d.disown(x, &x.owned)
	x.k, x.v = nil, nil
}

// kv checks that x is a live cache of this device with the given layer.
func (c call) kv(x kernels.KV, layer int) *kv {
	r, ok := x.(*kv)
	if !ok {
		c.fail("cache is a %T", x)
	}
	c.alive("cache", &r.owned)
	if layer < 0 || layer >= r.spec.Layers {
		c.fail("layer %d of %d", layer, r.spec.Layers)
	}
	return r
}

// slots is the number of slots S, width the number of elements G*D of a slot.
func (x *kv) slots() int { return x.spec.Pages * kernels.PageSize }
func (x *kv) width() int { return x.spec.KVHeads * x.spec.HeadDim }

// key and value are the vectors [D] of head g in a slot.
func (x *kv) key(layer, slot, g int) []float32   { return x.head(x.k, layer, slot, g) }
func (x *kv) value(layer, slot, g int) []float32 { return x.head(x.v, layer, slot, g) }

func (x *kv) head(data []float32, layer, slot, g int) []float32 {
	return data[(layer*x.slots()+slot)*x.width()+g*x.spec.HeadDim:][:x.spec.HeadDim]
}

// KVWrite stores k[t] and v[t] in slots[t]. Of several tokens with one slot the last stays.
func (d *device) KVWrite(cache kernels.KV, layer int, kt, vt kernels.Tensor, kb kernels.Batch) {
	c := d.begin("KVWrite")
	defer c.end()
	x := c.kv(cache, layer)
	k := c.f32("k", kt, -1, x.width())
	v := c.f32("v", vt, k.rows, x.width())
	b := c.batch(kb)
	c.rows("k", k.rows, b)
	for t, slot := range c.ints("slots", b.Slots(), k.rows, x.slots()) {
		at := (layer*x.slots() + int(slot)) * x.width()
		copy(x.k[at:], rounded(x.spec.Type, k.row(t)))
		copy(x.v[at:], rounded(x.spec.Type, v.row(t)))
	}
}

// KVCopy copies page src[i] to page dst[i] in all layers. No page is both read and written.
func (d *device) KVCopy(cache kernels.KV, dst, src []int32) {
	c := d.begin("KVCopy")
	defer c.end()
	x := c.kv(cache, 0)
	if len(dst) != len(src) {
		c.fail("%d pages to %d", len(src), len(dst))
	}
	read := map[int32]bool{}
	for _, p := range src {
		c.page(x, p)
		read[p] = true
	}
	written := map[int32]bool{}
	for _, p := range dst {
		c.page(x, p)
		if read[p] || written[p] {
			c.fail("page %d of %v is in %v too, or twice", p, dst, src)
		}
		written[p] = true
	}
	page := kernels.PageSize * x.width()
	for layer := range x.spec.Layers {
		all := layer * x.slots() * x.width()
		for i := range dst {
			to, from := all+int(dst[i])*page, all+int(src[i])*page
			copy(x.k[to:to+page], x.k[from:from+page])
			copy(x.v[to:to+page], x.v[from:from+page])
		}
	}
}

func (c call) page(x *kv, p int32) {
	if p < 0 || int(p) >= x.spec.Pages {
		c.fail("page %d of %d", p, x.spec.Pages)
	}
}
