package cuda

import (
	"fmt"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/cuda/internal/gpu"
)

// kv is a cache: keys [L, pages, G, P, D] and then values in the same shape, of the cache's type.
type kv struct {
	*buffer
	spec kernels.KVSpec
}

// NewKV makes room for a cache of zeros.
func (d *Device) NewKV(s kernels.KVSpec) (kernels.KV, error) {
	if s.Layers < 1 || s.Pages < 0 || s.KVHeads < 1 || s.HeadDim < 1 || s.Type != kernels.F32 &&
		s.Type != kernels.BF16 {
		fail("NewKV", "%+v", s)
	}
	x := &kv{spec: s}
	buf, err := d.alloc(x.size())
	if err != nil {
		return nil, fmt.Errorf("%d pages of keys and values: %w", s.Pages, err)
	}
	x.buffer = buf
	return x, nil
}

func (x *kv) Spec() kernels.KVSpec { return x.spec }

// pageBytes is the size of the keys of one page in one layer, layerBytes that of all pages.
func (x *kv) pageBytes() int64 {
	return int64(x.spec.KVHeads * kernels.PageSize * x.spec.HeadDim * x.spec.Type.Size())
}
func (x *kv) layerBytes() int64 { return int64(x.spec.Pages) * x.pageBytes() }

// size is the size of the cache in bytes.
func (x *kv) size() int64 { return 2 * int64(x.spec.Layers) * x.layerBytes() }

// keys and values are the addresses of a layer's keys and values.
func (x *kv) keys(layer int) gpu.Ptr   { return x.p + gpu.Ptr(int64(layer)*x.layerBytes()) }
func (x *kv) values(layer int) gpu.Ptr { return x.keys(x.spec.Layers + layer) }

// kv is c as a cache of d that has the layer.
func (d *Device) kv(op string, c kernels.KV, layer int) *kv {
	x, ok := c.(*kv)
	if !ok || x.buffer.d != d {
		fail(op, "a %T that is not, or no longer, a cache of %s", c, d.name)
	}
	if layer < 0 || layer >= x.spec.Layers {
		fail(op, "layer %d of %d", layer, x.spec.Layers)
	}
	return x
}
