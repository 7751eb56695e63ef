package cpu

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/zerosearch-go/zerosearch/kernels"
)

// attnCase is a batch of sequences over shared pages.
type attnCase struct {
	t         kernels.DType
	h, g, dim int
	segs      []kernels.Segment
	pages     int
}

// attnBatch is a prompt of 70 tokens shared by two continuations, a long sequence that is decoded, and a prefill.
func attnBatch() (segs []kernels.Segment, pages int) {
	next := int32(0)
	take := func(n int) (p []int32) {
		for range n {
			p = append(p, next*7%41) // scattered
			next++
		}
		return p
	}
	prompt := take(2)
	segs = []kernels.Segment{
		{Row: 0, Len: 64, Start: 0, Pages: prompt},
		{Row: 64, Len: 9, Start: 64, Pages: append(append([]int32(nil), prompt...), take(1)...)},
		{Row: 73, Len: 30, Start: 64, Pages: append(append([]int32(nil), prompt...), take(1)...)},
		{Row: 103, Len: 1, Start: 600, Pages: take(19)},
		{Row: 104, Len: 67, Start: 230, Pages: take(10)},
	}
	return segs, 41
}

// attnResult is all that attention computes, forward and backward.
func (c attnCase) run(t *testing.T, path string, threads int) [][]float32 {
	undo, err := Paths.Use(path)
	require.NoError(t, err)
	defer undo()
	d, err := New(Options{Threads: threads})
	require.NoError(t, err)
	defer func() { require.NoError(t, d.Close()) }()
	r := rand.New(rand.NewPCG(7, uint64(c.dim)))
	slots := c.pages * kernels.PageSize
	rows := 0
	for _, s := range c.segs {
		rows += s.Len
	}
	tensor := func(n, m int) kernels.Tensor {
		x, err := kernels.NewTensor(d, kernels.F32, n, m)
		require.NoError(t, err)
		copy(f32(x), numbers(r, n*m, false))
		return x
	}
	kv, err := d.NewKV(kernels.KVSpec{Layers: 2, Pages: c.pages, KVHeads: c.g, HeadDim: c.dim, Type: c.t})
	require.NoError(t, err)
	at, err := kernels.NewTensor(d, kernels.I32, slots, 1)
	require.NoError(t, err)
	for i := range i32(at) {
		i32(at)[i] = int32(i)
	}
	k, v, q, dy := tensor(slots, c.g*c.dim), tensor(slots, c.g*c.dim), tensor(rows, c.h*c.dim), tensor(rows, c.h*c.dim)
	y, dq, lse := tensor(rows, c.h*c.dim), tensor(rows, c.h*c.dim), tensor(rows, c.h)
	d.KVWrite(kv, 1, k, v, at)
	d.Attention(y, q, lse, kv, 1, c.segs, 0.21)
	d.AttentionBackward(dq, k, v, dy, y, q, lse, kv, 1, c.segs, 0.21)
	var out [][]float32
	for _, x := range []kernels.Tensor{y, lse, dq, k, v} {
		out = append(out, append([]float32(nil), f32(x)...))
		x.Buf.Free()
	}
	for _, x := range []kernels.Tensor{q, dy, at} {
		x.Buf.Free()
	}
	kv.Free()
	return out
}

var attnNames = []string{"y", "lse", "dq", "dk", "dv"}

// TestAttentionPaths: every path and every number of threads gives the bits of plain Go on one thread.
func TestAttentionPaths(t *testing.T) {
	segs, pages := attnBatch()
	for _, x := range [][3]int{{2, 1, 8}, {3, 3, 16}, {4, 2, 64}, {6, 2, 80}, {7, 1, 33}, {2, 1, 128}} {
		for _, kt := range []kernels.DType{kernels.F32, kernels.BF16} {
			c := attnCase{kt, x[0], x[1], x[2], segs, pages}
			t.Run(fmt.Sprintf("%v/h%dg%dd%d", kt, c.h, c.g, c.dim), func(t *testing.T) {
				want := c.run(t, "generic", 1)
				for _, p := range Paths.List() {
					if p.Missing != "" {
						continue
					}
					for _, threads := range []int{1, 3} {
						if p.Name == "generic" && threads == 1 {
							continue // that is want
						}
						for i, got := range c.run(t, p.Name, threads) {
							sameFloats(t, fmt.Sprintf("%s of %s, %d threads", attnNames[i], p.Name, threads), want[i], got)
						}
					}
				}
			})
		}
	}
}

// TestShareGroups: segments that meet through a third one are one group, in order; others are not.
func TestShareGroups(t *testing.T) {
	seg := func(n int, pages ...int32) kernels.Segment { return kernels.Segment{Len: n, Pages: pages} }
	groups := shareGroups([]kernels.Segment{seg(33, 5, 1), seg(3, 2), seg(33, 3, 4), seg(0, 2), seg(40, 3, 1, 2)}, 6)
	require.Len(t, groups, 2)
	require.Equal(t, []int{0, 2, 4}, groups[0].segs)
	require.Equal(t, []int32{5, 1, 3, 4}, groups[0].pages, "page 2 of the last segment is behind its last token")
	require.Equal(t, []int{1}, groups[1].segs)
}
