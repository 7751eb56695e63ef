package cpu

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/num"
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

// attnPlainAMX is attention with the arithmetic of AMX in plain Go.
var attnPlainAMX = func() *attnKernels {
	k := attnPlainBF16
	k.amx, k.mr, k.scores, k.values = true, maxAttnTile, plainTiles(scoresWith(stepsAMX)),
		plainTiles(valuesWith(stepsAMX))
	k.softmax = plainSoftmaxAMX
	k.columns, k.pairs, k.over = plainColumns, plainPairs, plainOver
	return &k
}()

// stepsAMX takes full blocks of steps, as num.DotAMX does.
func stepsAMX(c *[panelCols]float32, a, b unsafe.Pointer, steps int) int {
	steps = roundUp(steps, amxTileSteps)
	var col [num.BlockAMX]float32
	for s := 0; s < steps; s += amxTileSteps {
		x := unsafe.Slice((*float32)(unsafe.Add(a, 8*s)), num.BlockAMX)
		for j := range c {
			for i := range amxTileSteps {
				u := *at[uint32](b, 4*(panelCols*(s+i)+j))
				col[2*i], col[2*i+1] = float(u<<16), float(u&0xffff0000)
			}
			c[j] = num.DotAMX(c[j], x, col[:])
		}
	}
	return 8 * steps
}

// plainSoftmaxAMX makes p = 2^y, y = s*scale - m in base 2, as 2^floor(y) times a polynomial of degree 5 of y -
// floor(y), whose largest relative error is 1.4e-7: next to matmuls on AMX, exp takes most of the time.
func plainSoftmaxAMX(p unsafe.Pointer, n int, s []float32, _ unsafe.Pointer, scale float32) (m, sum float32) {
	y := unsafe.Slice((*float32)(p), n)
	for i, x := range s {
		y[i] = x * scale
	}
	m = maximum(y[:len(s)])
	k, most := float32(scale*expLog2e), -float32(m*expLog2e)
	var a lanes16
	for i, x := range s {
		e := num.FMA32(x, k, most)
		floor := math.Floor(float64(e))
		f, pow := float32(float64(e)-floor), float32(0x1.e97516p-10)
		if f == 1 || float64(f) > float64(e)-floor { // VREDUCEPS rounds down
			f = math.Nextafter32(f, 0)
		}
		for _, c := range [...]float32{0x1.27784ep-7, 0x1.c91ce8p-5, 0x1.ebdb56p-3, 0x1.62e4bap-1, 1} {
			pow = num.FMA32(pow, f, c)
		}
		y[i] = float32(math.Ldexp(float64(pow), int(floor)))
		a[i%16] += y[i]
	}
	clear(y[len(s):])
	num.RoundBF16Slice(y, y)
	return m, a.sum()
}

func plainColumns(dst []uint32, src []float32, ld, t int) {
	clear(dst[:roundUp(t, num.BlockAMX)/2*maxAttnTile])
	for s := range t {
		for i, x := range src[s*ld:][:maxAttnTile] {
			w := &dst[(s/num.BlockAMX*maxAttnTile+i)*amxTileSteps+s%num.BlockAMX/2]
			*w |= uint32(num.BF16FromF32(x)) << (16 * (s % 2))
		}
	}
}

func plainPairs(t *attnPairs) {
	n := t.pages * pageSize
	for i, sees := range []int{t.sees, t.sees1} {
		s, dp := make([]float32, n), make([]float32, n)
		copy(s[:sees], unsafe.Slice(at[float32](t.s, i*t.ld), n))
		copy(dp[:sees], unsafe.Slice(at[float32](t.dp, i*t.ld), n))
		probs(s[:sees], dp[:sees], t.scale, []float32{t.lse, t.lse1}[i], []float32{t.delta, t.delta1}[i])
		for j := range n {
			*at[uint16](t.p, j/pageSize*t.page+4*(j%pageSize)+2*i) = num.BF16FromF32(s[j])
			*at[uint16](t.ds, j/pageSize*t.page+4*(j%pageSize)+2*i) = num.BF16FromF32(dp[j])
			*at[float32](t.a, i*t.lda+4*j) = num.RoundBF16(dp[j])
		}
	}
}

func plainOver(t *attnOver) {
	half := func(p unsafe.Pointer, i int) float32 { return float(uint32(*at[uint16](p, 2*i)) << 16) }
	x, w := make([]float32, num.BlockAMX*t.blocks), make([]float32, num.BlockAMX*t.blocks)
	for p, c := range unsafe.Slice(t.c, t.n) {
		for i := range t.dim {
			for k := range x {
				x[k] = half(t.a,
					i/maxAttnTile*t.lda/2+(k/num.BlockAMX*maxAttnTile+i%maxAttnTile)*num.BlockAMX+k%num.BlockAMX)
			}
			for j := range pageSize {
				for k := range w {
					w[k] = half(t.b, p*t.page/2+(k/2*pageSize+j)*2+k%2)
				}
				y := at[float32](c, 4*(i*pageSize+j))
				*y = num.DotAMX(*y, x, w)
			}
		}
	}
}

// run returns everything that attention computes, forward and backward. amx: by attnPlainAMX, if D allows it.
func (c attnCase) run(t *testing.T, path string, threads int, amx bool) [][]float32 {
	undo, err := Paths.Use(path)
	require.NoError(t, err)
	defer undo()
	d, err := New(Options{Threads: threads})
	require.NoError(t, err)
	defer func() { require.NoError(t, d.Close()) }()
	if amx {
		d.amxAttn = attnPlainAMX
	}
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
	at, err := kernels.BatchOf(d, kernels.Layout{Slots: upTo(slots)}, kv)
	require.NoError(t, err)
	batch, err := kernels.BatchOf(d, kernels.Layout{Segs: c.segs}, kv)
	require.NoError(t, err)
	k, v, q, dy := tensor(slots, c.g*c.dim), tensor(slots, c.g*c.dim), tensor(rows, c.h*c.dim), tensor(rows, c.h*c.dim)
	y, dq, lse := tensor(rows, c.h*c.dim), tensor(rows, c.h*c.dim), tensor(rows, c.h)
	d.KVWrite(kv, 1, k, v, at)
	d.Attention(y, q, lse, kv, 1, batch, 0.21)
	d.AttentionBackward(dq, k, v, dy, y, q, lse, kv, 1, batch, 0.21)
	var out [][]float32
	for _, x := range []kernels.Tensor{y, lse, dq, k, v} {
		out = append(out, append([]float32(nil), f32(x)...))
		x.Buf.Free()
	}
	for _, x := range []interface{ Free() }{q.Buf, dy.Buf, at, batch} {
		x.Free()
	}
	kv.Free()
	return out
}

var attnNames = []string{"y", "lse", "dq", "dk", "dv"}

// TestAttentionPaths: every path and every number of threads gives the bits of plain Go on one thread; AMX gives those
// of attnPlainAMX.
func TestAttentionPaths(t *testing.T) {
	segs, pages := attnBatch()
	for _, x := range [][3]int{{2, 1, 8}, {3, 3, 16}, {4, 2, 64}, {6, 2, 80}, {7, 1, 33}, {2, 1, 128}} {
		for _, kt := range []kernels.DType{kernels.F32, kernels.BF16} {
			c := attnCase{kt, x[0], x[1], x[2], segs, pages}
			t.Run(fmt.Sprintf("%v/h%dg%dd%d", kt, c.h, c.g, c.dim), func(t *testing.T) {
				chain := c.run(t, "generic", 1, false)
				for _, p := range Paths.List() {
					if p.Missing != "" {
						continue
					}
					want := chain
					if p.Name == "amx" && kt == kernels.BF16 && c.dim%num.BlockAMX == 0 {
						want = c.run(t, "generic", 1, true)
					}
					for _, threads := range []int{1, 3} {
						if p.Name == "generic" && threads == 1 {
							continue // that is the chain
						}
						for i, got := range c.run(t, p.Name, threads, false) {
							sameFloats(t, fmt.Sprintf("%s of %s, %d threads", attnNames[i], p.Name, threads), want[i],
								got)
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

// upTo is 0, 1 ... n-1.
func upTo(n int) []int32 {
	x := make([]int32, n)
	for i := range x {
		x[i] = int32(i)
	}
	return x
}
