//go:build !nogpu && linux

package cuda

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/cuda/internal/fake"
	"github.com/zerosearch-go/zerosearch/kernels/ref"
)

// attention is one layer over a cache in which all pages are full of numbers.
type attention struct {
	t       *testing.T
	d       kernels.Device
	kv      kernels.KV
	heads   int
	scale   float32
	buffers []interface{ Free() }
}

func newAttention(t *testing.T, d kernels.Device, heads int, s kernels.KVSpec) *attention {
	a := &attention{t: t, d: d, heads: heads, scale: float32(1 / math.Sqrt(float64(s.HeadDim)))}
	kv, err := d.NewKV(s)
	require.NoError(t, err)
	a.kv = kv
	n, w := s.Pages*kernels.PageSize, s.KVHeads*s.HeadDim
	l := kernels.Layout{Slots: make([]int32, n)}
	for i := range l.Slots {
		l.Slots[i] = int32(i)
	}
	b, err := kernels.BatchOf(d, l, kv)
	require.NoError(t, err)
	a.buffers = append(a.buffers, kv, b)
	d.KVWrite(kv, 0, a.tensor("k", n, w), a.tensor("v", n, w), b)
	return a
}

// tensor is [rows, cols] of normal numbers that depend on the name, or zeros where there is none.
func (a *attention) tensor(name string, rows, cols int) kernels.Tensor {
	x, err := kernels.NewTensor(a.d, kernels.F32, rows, cols)
	require.NoError(a.t, err)
	a.buffers = append(a.buffers, x.Buf)
	if name != "" {
		seed := [32]byte{}
		copy(seed[:], name)
		r, host := rand.New(rand.NewChaCha8(seed)), make([]float32, rows*cols)
		for i := range host {
			host[i] = float32(r.NormFloat64())
		}
		kernels.Upload(a.d, x, host)
	}
	return x
}

func (a *attention) batch(segs ...kernels.Segment) (b kernels.Batch, rows int) {
	for _, s := range segs {
		rows = max(rows, s.Row+s.Len)
	}
	b, err := kernels.BatchOf(a.d, kernels.Layout{Segs: segs}, a.kv)
	require.NoError(a.t, err)
	a.buffers = append(a.buffers, b)
	return b, rows
}

func (a *attention) read(x kernels.Tensor) []float32 {
	host := make([]float32, x.Len())
	require.NoError(a.t, kernels.Download(a.d, host, x))
	return host
}

// forward is y and lse of the queries of segs, which are the same for each position.
func (a *attention) forward(segs ...kernels.Segment) (y, lse []float32) {
	b, rows := a.batch(segs...)
	w := a.heads * a.kv.Spec().HeadDim
	q, ty, tl := a.tensor("", rows, w), a.tensor("", rows, w), a.tensor("", rows, a.heads)
	for _, s := range segs {
		for i := range s.Len {
			kernels.Upload(a.d, q.RowRange(s.Row+i, 1), a.read(a.tensor(fmt.Sprint("q", s.Start+i), 1, w)))
		}
	}
	a.d.Attention(ty, q, tl, a.kv, 0, b, a.scale)
	return a.read(ty), a.read(tl)
}

// backward is dq, dk and dv.
func (a *attention) backward(segs ...kernels.Segment) [][]float32 {
	b, rows := a.batch(segs...)
	s := a.kv.Spec()
	w, slots := a.heads*s.HeadDim, s.Pages*kernels.PageSize
	q, y, lse := a.tensor("q", rows, w), a.tensor("", rows, w), a.tensor("", rows, a.heads)
	a.d.Attention(y, q, lse, a.kv, 0, b, a.scale)
	kw := s.KVHeads * s.HeadDim
	dq, dk, dv := a.tensor("", rows, w), a.tensor("dk", slots, kw), a.tensor("dv", slots, kw)
	a.d.AttentionBackward(dq, dk, dv, a.tensor("dy", rows, w), y, q, lse, a.kv, 0, b, a.scale)
	return [][]float32{a.read(dq), a.read(dk), a.read(dv)}
}

func (a *attention) free() {
	for _, b := range a.buffers {
		b.Free()
	}
}

// onFake runs f on a device of the fake driver.
func onFake(t *testing.T, heads int, s kernels.KVSpec, f func(a *attention, m *fake.Machine)) {
	d, err := open()
	require.NoError(t, err)
	a := newAttention(t, d, heads, s)
	f(a, d.(checked).m)
	a.free()
	require.NoError(t, d.Close())
}

func pagesUpTo(n int) (pages []int32) {
	for i := range n {
		pages = append(pages, int32(n-1-i))
	}
	return pages
}

// Segments of one row and longer ones have kernels of their own, which must agree where tiles and partitions begin and
// end.
func TestDecodeHasTheBitsOfPrefill(t *testing.T) {
	for _, c := range []struct {
		heads, kvHeads, dim int
		at                  []int
	}{
		{2, 1, 16, []int{3, 63, 64, 255, 256, 700}}, {18, 1, 16, []int{65}}, {2, 1, 64, []int{63, 256}},
		{2, 2, 80, []int{64, 130}}, {2, 1, 128, []int{3, 255, 256}}, {1, 1, 136, []int{70}}, {2, 1, 256, []int{257}},
	} {
		t.Run(fmt.Sprintf("h%dg%dd%d", c.heads, c.kvHeads, c.dim), func(t *testing.T) {
			pages := c.at[len(c.at)-1]/kernels.PageSize + 1
			spec := kernels.KVSpec{Layers: 1, Pages: pages, KVHeads: c.kvHeads, HeadDim: c.dim, Type: kernels.BF16}
			onFake(t, c.heads, spec, func(a *attention, m *fake.Machine) {
				w := c.heads * c.dim
				for _, p := range c.at {
					y, lse := a.forward(kernels.Segment{Len: 1, Start: p, Pages: pagesUpTo(pages)})
					all, ls := a.forward(kernels.Segment{Len: 3, Start: p - 2, Pages: pagesUpTo(pages)})
					require.Equal(t, all[2*w:], y, "position %d", p)
					require.Equal(t, ls[2*c.heads:], lse, "position %d", p)
				}
				require.Equal(t, len(c.at), m.Launches["attention_merge"], "every decode is by partitions")
			})
		})
	}
}

// A value that is infinite or NaN reaches the queries that see it, in either half of a word, and no others.
func TestValuesThatAreNotFinite(t *testing.T) {
	spec := kernels.KVSpec{Layers: 1, Pages: 3, KVHeads: 1, HeadDim: 16, Type: kernels.BF16}
	onFake(t, 1, spec, func(a *attention, m *fake.Machine) {
		odd := map[[2]int]float64{{20, 4}: math.NaN(), {33, 5}: math.Inf(1), {66, 6}: math.Inf(-1), {67, 7}: math.NaN()}
		b, err := kernels.BatchOf(a.d, kernels.Layout{Slots: []int32{20, 33, 66, 67}}, a.kv)
		require.NoError(t, err)
		a.buffers = append(a.buffers, b)
		v, row := a.tensor("odd", 4, 16), map[int]int{20: 0, 33: 1, 66: 2, 67: 3}
		for at, x := range odd {
			kernels.Upload(a.d, v.RowRange(row[at[0]], 1).ColRange(at[1], 1), []float32{float32(x)})
		}
		a.d.KVWrite(a.kv, 0, a.tensor("new keys", 4, 16), v, b)
		pages := []int32{0, 1, 2}
		all, _ := a.forward(kernels.Segment{Len: 70, Pages: pages})
		for p := range 70 {
			for d := range 16 {
				y, want := float64(all[p*16+d]), 0.0
				for at, x := range odd {
					if at[0] <= p && at[1] == d {
						want = x
					}
				}
				if want == 0 {
					require.False(t, math.IsNaN(y) || math.IsInf(y, 0), "position %d, column %d: %v", p, d, y)
				} else {
					require.True(t, math.IsNaN(want) && math.IsNaN(y) || want == y,
						"position %d, column %d: %v, want %v", p, d, y, want)
				}
			}
			if p%9 == 2 {
				one, _ := a.forward(kernels.Segment{Len: 1, Start: p, Pages: pages})
				for d, x := range one {
					y := all[p*16+d]
					require.True(t, x == y || x != x && y != y, "position %d, column %d: %v, prefill %v", p, d, x, y)
				}
			}
		}
	})
}

// Heads of every kernel, and pages that several segments of more than one tile share, beside package ref.
func TestAttentionOfEveryWidth(t *testing.T) {
	for _, c := range []struct{ heads, kvHeads, dim int }{
		{2, 1, 8}, {2, 1, 16}, {2, 1, 64}, {2, 1, 80}, {2, 1, 128}, {1, 1, 256}, {1, 1, 20}, {1, 1, 264},
	} {
		t.Run(fmt.Sprintf("h%dg%dd%d", c.heads, c.kvHeads, c.dim), func(t *testing.T) {
			spec := kernels.KVSpec{Layers: 1, Pages: 6, KVHeads: c.kvHeads, HeadDim: c.dim, Type: kernels.BF16}
			segs := []kernels.Segment{
				{Row: 1, Len: 70, Pages: []int32{3, 1, 4}}, {Row: 0, Len: 1, Start: 40, Pages: []int32{3, 5}},
				{Row: 71, Len: 5, Start: 62, Pages: []int32{3, 1, 0}},
			}
			r := newAttention(t, ref.New(), c.heads, spec)
			y, lse := r.forward(segs...)
			grads := r.backward(segs...)
			onFake(t, c.heads, spec, func(a *attention, m *fake.Machine) {
				gotY, gotLSE := a.forward(segs...)
				closeTo(t, "y", y, gotY, tolerances.BF16)
				closeTo(t, "lse", lse, gotLSE, tolerances.BF16)
				for i, got := range a.backward(segs...) {
					closeTo(t, []string{"dq", "dk", "dv"}[i], grads[i], got, 3*tolerances.BF16)
				}
			})
		})
	}
}

// closeTo allows differences of share times the largest element.
func closeTo(t *testing.T, name string, want, got []float32, share float64) {
	most := 0.0
	for _, x := range want {
		most = max(most, math.Abs(float64(x)))
	}
	for i := range want {
		if d := math.Abs(float64(want[i]) - float64(got[i])); !(d <= share*most) {
			t.Fatalf("%s: element %d of %d is %v, want %v", name, i, len(want), got[i], want[i])
		}
	}
}
