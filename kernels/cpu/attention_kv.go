package cpu

import (
	"fmt"
	"sync/atomic"
	"unsafe"

	"github.com/zerosearch-go/zerosearch/kernels"
)

const pageSize = kernels.PageSize

// kv is a cache of pages. Each head of a page holds two matmul operands in panels of 4-byte words, so that the cache is
// never repacked:
//
//	keys    F32 [D][32 keys]            BF16 [D/2][32 keys][2]              q k^T: the chain runs over d
//	values  F32 [D/32][32 keys][32 d]   BF16 [D/32][16 pairs][32 d][2 keys] p v:   the chain runs over keys
//
// An odd D is padded with a zero in keys, D is padded with zeros to whole panels of 32 in values.
type kv struct {
	spec  kernels.KVSpec
	buf   *buffer
	keys  int // words of the keys of one head of a page
	words int // words of the keys and values of one head of a page
	steps int // of the chain over 32 keys: 32 or 16
	// nonFinite marks pages that have held an infinity or NaN. There a probability of 0 does not mask a value, since 0
	// times infinity is NaN.
	nonFinite []atomic.Bool
}

// NewKV allocates a cache.
func (d *Device) NewKV(s kernels.KVSpec) (kernels.KV, error) {
	if s.Layers < 0 || s.Pages < 0 || s.KVHeads < 1 || s.HeadDim < 1 || s.Type != kernels.F32 &&
		s.Type != kernels.BF16 {
		return nil, fmt.Errorf("cpu: a cache of %d layers, %d pages, %d heads of %d, type %v: impossible", s.Layers,
			s.Pages, s.KVHeads, s.HeadDim, s.Type)
	}
	x := newKVLayout(s)
	x.nonFinite = make([]atomic.Bool, s.Pages)
	var err error
	if x.buf, err = newBuffer(x.size()); err != nil {
		return nil, fmt.Errorf("a cache of %d layers, %d pages: %w", s.Layers, s.Pages, err)
	}
	return x, nil
}

// newKVLayout computes the layout of a cache without allocating it.
func newKVLayout(s kernels.KVSpec) *kv {
	x := &kv{spec: s}
	x.steps = chainSteps(s.Type, pageSize)
	x.keys = chainSteps(s.Type, s.HeadDim) * panelCols
	x.words = x.keys + x.panels()*x.steps*panelCols
	return x
}

// size is the bytes that the pages of x take.
func (x *kv) size() int64 {
	return 4 * int64(x.spec.Layers) * int64(x.spec.Pages) * int64(x.spec.KVHeads) * int64(x.words)
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

// asKV converts c to a cache of this package that has the layer, or panics.
func asKV(op string, c kernels.KV, layer int) *kv {
	x, ok := c.(*kv)
	if !ok {
		panic(fmt.Sprintf("cpu: %s: a cache of another device: %T", op, c))
	}
	if layer < 0 || layer >= x.spec.Layers {
		panic(fmt.Sprintf("cpu: %s: layer %d of %d", op, layer, x.spec.Layers))
	}
	return x
}

// KVWrite stores k and v in slots. Every task writes the keys or the values of one head, tokens ascending: if several
// tokens have the same slot, the last one stays.
func (d *Device) KVWrite(c kernels.KV, layer int, k, v kernels.Tensor, kb kernels.Batch) {
	const op = "KVWrite"
	x, b := asKV(op, c, layer), sameRows(op, kb, k.Rows)
	dim := x.spec.HeadDim
	shape(op, "k", k, k.Rows, x.spec.KVHeads*dim)
	shape(op, "v", v, k.Rows, x.spec.KVHeads*dim)
	b.checkCache(op, x)
	ks, vs, at := f32(k), f32(v), b.Layout.Slots
	if k.Rows == 0 {
		return
	}
	w := kvWriter{kv: x, rowKernels: d.rows(), gemm: d.gemm.attention(x.spec.Type),
		transpose: kvTransposer(d.isa, x.spec.Type), layer: layer, at: at}
	// cache misses per element: the words of a key lie in different cache lines, and that takes the time
	const missed = 8
	d.each(2*x.spec.KVHeads, missed*k.Rows*k.Cols, func(task int) {
		row := make([]uint16, roundUp(dim, 2)) // of BF16, zero past the end
		if g := task / 2; task%2 == 0 {
			w.keys(g, ks[g*dim:], k.Stride, row)
		} else {
			w.values(g, vs[g*dim:], v.Stride, row)
		}
	})
}

// kvWriter writes keys and values; token t goes to slot at[t].
type kvWriter struct {
	*kv
	*rowKernels
	gemm      *gemmKernels
	transpose func(*transpose16) // transposes 16 keys, or nil
	layer     int
	at        []int32
}

// run is the number of tokens from t on, at most most, whose slots are consecutive within a page.
func (w *kvWriter) run(t, most int) int {
	n := 1
	for n < most && t+n < len(w.at) && w.at[t+n] == w.at[t]+int32(n) && w.at[t+n]%pageSize != 0 {
		n++
	}
	return n
}

// check marks the page of token t if x is not finite. A page with elements whose squares overflow is marked too; that
// only costs time.
func (w *kvWriter) check(t int, x []float32) {
	if s := w.sumSquares(x); s-s != 0 {
		w.nonFinite[w.at[t]/pageSize].Store(true)
	}
}

// keys writes the keys of head g: 16 at a time, transposed, where a run of slots allows it.
func (w *kvWriter) keys(g int, k []float32, ld int, half []uint16) {
	dim := w.spec.HeadDim
	for t := 0; t < len(w.at); {
		keys, _ := w.head(w.layer, int(w.at[t])/pageSize, g)
		place := int(w.at[t]) % pageSize
		done := 0
		n := 1
		if w.transpose != nil && place%16 == 0 && w.run(t, 16) == 16 {
			n, done = 16, w.transposeKeys(keys[place:], k[t*ld:], ld)
		}
		for i := range n {
			row := k[(t+i)*ld:][:dim]
			w.check(t+i, row)
			w.putKey(keys, place+i, row, done, half)
		}
		t += n
	}
}

// values writes the values of head g: pairs of BF16 where a run of slots allows it.
func (w *kvWriter) values(g int, v []float32, ld int, half []uint16) {
	dim := w.spec.HeadDim
	for t := 0; t < len(w.at); {
		_, values := w.head(w.layer, int(w.at[t])/pageSize, g)
		place := int(w.at[t]) % pageSize
		n := 1
		if w.spec.Type == kernels.BF16 && place%2 == 0 {
			n = max(1, w.run(t, pageSize)&^1)
		}
		for i := range n {
			w.check(t+i, v[(t+i)*ld:][:dim])
		}
		if n == 1 {
			w.putValue(values, place, v[t*ld:][:dim], half)
		} else {
			for c := 0; c < dim; c += panelCols {
				w.gemm.columns(pairs, values[c*w.steps+place/2*panelCols:], panelCols, v[t*ld+c:], ld,
					min(panelCols, dim-c), n)
			}
		}
		t += n
	}
}

// putKey writes elements of a key from element from, which is even. half is scratch.
func (w *kvWriter) putKey(keys []uint32, place int, k []float32, from int, half []uint16) {
	if w.spec.Type == kernels.F32 {
		for i := from; i < len(k); i++ {
			keys[i*panelCols+place] = bits(k[i])
		}
		return
	}
	w.narrow(half[from:len(k)], k[from:])
	for i := from; i < len(k); i += 2 {
		keys[i/2*panelCols+place] = uint32(half[i]) | uint32(half[i+1])<<16
	}
}

// putValue writes a value.
func (w *kvWriter) putValue(values []uint32, place int, v []float32, half []uint16) {
	size := w.steps * panelCols
	if w.spec.Type == kernels.F32 {
		for c := 0; c < len(v); c += panelCols {
			copy(values[c/panelCols*size+place*panelCols:], words(v[c:min(c+panelCols, len(v))]))
		}
		return
	}
	w.narrow(half[:len(v)], v)
	for c := 0; c < len(v); c += panelCols {
		pairs := values[c/panelCols*size+place/2*panelCols:][:panelCols]
		row := unsafe.Slice((*uint16)(ptr(pairs)), 2*panelCols)[place%2:]
		for i, h := range half[c:min(c+panelCols, len(v))] {
			row[2*i] = h
		}
	}
}

// KVCopy copies page src[i] to page dst[i] in all layers.
func (d *Device) KVCopy(c kernels.KV, dst, src []int32) {
	x := asKV("KVCopy", c, 0)
	if len(dst) != len(src) {
		panic(fmt.Sprintf("cpu: KVCopy: %d pages to %d", len(src), len(dst)))
	}
	for i := range dst {
		for _, p := range []int32{dst[i], src[i]} {
			if p < 0 || int(p) >= x.spec.Pages {
				panic(fmt.Sprintf("cpu: KVCopy: page %d of %d", p, x.spec.Pages))
			}
		}
		x.nonFinite[dst[i]].Store(x.nonFinite[src[i]].Load())
	}
	size := x.spec.KVHeads * x.words
	all := elems[uint32](x.buf.mem)
	d.pool.Run(len(dst)*x.spec.Layers, func(task int) {
		layer, i := task/len(dst), task%len(dst)
		to, from := layer*x.spec.Pages+int(dst[i]), layer*x.spec.Pages+int(src[i])
		copy(all[to*size:][:size], all[from*size:][:size])
	})
}
