package cpu

import (
	"fmt"
	"sync/atomic"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/num"
)

const pageSize = kernels.PageSize

// kv is a cache of pages. A head of a page is two operands of matmuls, in words of 4 bytes, in the panels of package cpu, so that
// the cache is never packed again:
//
//	keys    F32 [D][32 keys]            BF16 [D/2][32 keys][2]              q k^T: the chain runs over d
//	values  F32 [D/32][32 keys][32 d]   BF16 [D/32][16 pairs][32 d][2 keys] p v:   the chain runs over keys
//
// An odd D is padded with a zero in keys, D is padded with zeros to whole panels of 32 in values.
type kv struct {
	spec  kernels.KVSpec
	buf   *buffer
	keys  int // words of the keys of a head of a page
	words int // and of keys and values
	steps int // of the chain over 32 keys: 32 or 16
	// wild marks pages that have held an infinity or NaN: there a probability of 0 does not keep a value out.
	wild []atomic.Bool
}

// NewKV makes room for a cache.
func (d *Device) NewKV(s kernels.KVSpec) (kernels.KV, error) {
	if s.Layers < 0 || s.Pages < 0 || s.KVHeads < 1 || s.HeadDim < 1 || s.Type != kernels.F32 && s.Type != kernels.BF16 {
		return nil, fmt.Errorf("cpu: a cache of %d layers, %d pages, %d heads of %d, type %v: impossible", s.Layers, s.Pages, s.KVHeads, s.HeadDim, s.Type)
	}
	x := &kv{spec: s, wild: make([]atomic.Bool, s.Pages)}
	x.steps = chainSteps(s.Type, pageSize)
	x.keys = chainSteps(s.Type, s.HeadDim) * panelCols
	x.words = x.keys + x.panels()*x.steps*panelCols
	var err error
	if x.buf, err = newBuffer(4 * int64(s.Layers) * int64(s.Pages) * int64(s.KVHeads) * int64(x.words)); err != nil {
		return nil, fmt.Errorf("a cache of %d layers, %d pages: %w", s.Layers, s.Pages, err)
	}
	return x, nil
}

// chainSteps is the number of steps of a chain of length n: pairs in BF16.
func chainSteps(t kernels.DType, n int) int {
	if t == kernels.BF16 {
		return (n + 1) / 2
	}
	return n
}

func (x *kv) Spec() kernels.KVSpec { return x.spec }
func (x *kv) Bytes() int64         { return x.buf.Bytes() }
func (x *kv) Free()                { x.buf.Free() }

// valueWords is the number of words of the values of a head of a page.
func (x *kv) valueWords() int { return x.words - x.keys }

// panels is the number of panels of values.
func (x *kv) panels() int { return (x.spec.HeadDim + panelCols - 1) / panelCols }

// head is keys and values of head g of a page.
func (x *kv) head(layer, page, g int) (k, v []uint32) {
	at := ((layer*x.spec.Pages+page)*x.spec.KVHeads + g) * x.words
	w := elems[uint32](x.buf.mem)[at:][:x.words:x.words]
	return w[:x.keys], w[x.keys:]
}

// ownKV is c as a cache of this package that has the layer.
func ownKV(op string, c kernels.KV, layer int) *kv {
	x, ok := c.(*kv)
	if !ok {
		panic(fmt.Sprintf("cpu: %s: a cache of another device: %T", op, c))
	}
	if layer < 0 || layer >= x.spec.Layers {
		panic(fmt.Sprintf("cpu: %s: layer %d of %d", op, layer, x.spec.Layers))
	}
	return x
}

// KVWrite stores k and v in slots. Every task writes the keys or the values of a head, tokens ascending, so that of several tokens
// with one slot the last stays.
func (d *Device) KVWrite(c kernels.KV, layer int, k, v, slots kernels.Tensor) {
	const op = "KVWrite"
	x := ownKV(op, c, layer)
	dim := x.spec.HeadDim
	shape(op, "k", k, slots.Rows, x.spec.KVHeads*dim)
	shape(op, "v", v, slots.Rows, x.spec.KVHeads*dim)
	ks, vs, at := f32(k), f32(v), indices(op, "slots", slots, k.Rows, x.spec.Pages*pageSize)
	d.each(2*x.spec.KVHeads, k.Rows*k.Cols, func(task int) {
		g := task / 2
		for t, s := range at {
			page, place := int(s)/pageSize, int(s)%pageSize
			keys, values := x.head(layer, page, g)
			tame := false
			if task%2 == 0 {
				tame = x.putKey(keys, place, ks[t*k.Stride+g*dim:][:dim])
			} else {
				tame = x.putValue(values, place, vs[t*v.Stride+g*dim:][:dim])
			}
			if !tame {
				x.wild[page].Store(true)
			}
		}
	})
}

// putKey reports whether all elements are finite.
func (x *kv) putKey(keys []uint32, place int, k []float32) bool {
	var most uint32
	if x.spec.Type == kernels.F32 {
		for i, y := range k {
			keys[i*panelCols+place] = bits(y)
			most = max(most, bits(y)&0x7fffffff)
		}
		return most < 0x7f800000
	}
	for i := 0; i < len(k); i += 2 {
		u := uint32(num.BF16FromF32(k[i]))
		if i+1 < len(k) {
			odd := uint32(num.BF16FromF32(k[i+1]))
			most = max(most, odd&0x7fff)
			u |= odd << 16
		}
		most = max(most, u&0x7fff)
		keys[i/2*panelCols+place] = u
	}
	return most < 0x7f80
}

// putValue reports whether all elements are finite.
func (x *kv) putValue(values []uint32, place int, v []float32) bool {
	var most uint32
	size := x.steps * panelCols
	if x.spec.Type == kernels.F32 {
		for i, y := range v {
			u := bits(y)
			values[i/panelCols*size+place*panelCols+i%panelCols] = u
			most = max(most, u&0x7fffffff)
		}
		return most < 0x7f800000
	}
	shift, keep := 0, uint32(0xffff0000)
	if place%2 == 1 {
		shift, keep = 16, 0x0000ffff
	}
	for p := 0; p*panelCols < len(v); p++ {
		row := values[p*size+place/2*panelCols:][:panelCols]
		for i, y := range v[p*panelCols : min((p+1)*panelCols, len(v))] {
			h := uint32(num.BF16FromF32(y))
			row[i] = row[i]&keep | h<<shift
			most = max(most, h&0x7fff)
		}
	}
	return most < 0x7f80
}

// KVCopy copies page src[i] to page dst[i] in all layers.
func (d *Device) KVCopy(c kernels.KV, dst, src []int32) {
	x := ownKV("KVCopy", c, 0)
	if len(dst) != len(src) {
		panic(fmt.Sprintf("cpu: KVCopy: %d pages to %d", len(src), len(dst)))
	}
	for i := range dst {
		for _, p := range []int32{dst[i], src[i]} {
			if p < 0 || int(p) >= x.spec.Pages {
				panic(fmt.Sprintf("cpu: KVCopy: page %d of %d", p, x.spec.Pages))
			}
		}
		x.wild[dst[i]].Store(x.wild[src[i]].Load())
	}
	size := x.spec.KVHeads * x.words
	all := elems[uint32](x.buf.mem)
	d.pool.Run(len(dst)*x.spec.Layers, func(task int) {
		layer, i := task/len(dst), task%len(dst)
		to, from := layer*x.spec.Pages+int(dst[i]), layer*x.spec.Pages+int(src[i])
		copy(all[to*size:][:size], all[from*size:][:size])
	})
}
