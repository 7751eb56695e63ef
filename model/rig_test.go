package model

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/zerosearch-go/zerosearch/kernels"
)

// rig is a model with a cache and a workspace, driven by plain slices.
type rig struct {
	t     testing.TB
	m     *Model
	d     kernels.Device
	a     *Adapter // used by every segment, nil: base
	ws    *Workspace
	kv    kernels.KV
	batch *Batch
}

func load(t testing.TB, dev kernels.Device, dir string, o Options) *Model {
	m, err := Load(dev, dir, o)
	require.NoError(t, err)
	t.Cleanup(m.Close)
	return m
}

func newRig(t testing.TB, m *Model, tokens int, o WorkspaceOptions) *rig {
	ws, err := m.NewWorkspace(tokens, o)
	require.NoError(t, err)
	t.Cleanup(ws.Close)
	kind := kernels.F32
	if m.DType != kernels.F32 {
		kind = kernels.BF16
	}
	kv, err := m.Device.NewKV(m.KVSpec(tokens/kernels.PageSize+8, kind))
	require.NoError(t, err)
	t.Cleanup(kv.Free)
	return &rig{t: t, m: m, d: m.Device, ws: ws, kv: kv}
}

// tensor makes one that lives as long as the test.
func (r *rig) tensor(t kernels.DType, rows, cols int) kernels.Tensor {
	x, err := kernels.NewTensor(r.d, t, rows, cols)
	require.NoError(r.t, err)
	r.t.Cleanup(x.Buf.Free)
	return x
}

func (r *rig) ids(x []int32) kernels.Tensor {
	t := r.tensor(kernels.I32, len(x), 1)
	kernels.Upload(r.d, t, x)
	return t
}

func (r *rig) floats(x []float32, rows int) kernels.Tensor {
	t := r.tensor(kernels.F32, rows, len(x)/rows)
	kernels.Upload(r.d, t, x)
	return t
}

func (r *rig) host(t kernels.Tensor) []float32 {
	x := make([]float32, t.Len())
	require.NoError(r.t, kernels.Download(r.d, x, t))
	return x
}

// pack lays whole sequences into one batch, each on pages of its own.
func pack(seqs [][]int32, a []*Adapter) *Batch {
	b := &Batch{Adapters: a}
	page := int32(0)
	for _, ids := range seqs {
		s := kernels.Segment{Row: len(b.IDs), Len: len(ids)}
		for range kernels.PagesFor(len(ids)) {
			s.Pages = append(s.Pages, page)
			page++
		}
		b.IDs = append(b.IDs, ids...)
		for p := range ids {
			b.Pos = append(b.Pos, int32(p))
			b.Slots = append(b.Slots, s.Pages[p/kernels.PageSize]*kernels.PageSize+int32(p%kernels.PageSize))
		}
		b.Segs = append(b.Segs, s)
	}
	return b
}

// forward runs whole sequences in one batch.
func (r *rig) forward(seqs [][]int32, adapters []*Adapter) kernels.Tensor {
	if adapters == nil && r.a != nil {
		for range seqs {
			adapters = append(adapters, r.a)
		}
	}
	r.batch = pack(seqs, adapters)
	return r.m.Forward(r.ws, r.batch, r.kv)
}

func (r *rig) logits(h kernels.Tensor) []float32 {
	z := r.tensor(kernels.F32, h.Rows, r.m.Config.Vocab)
	r.d.MatMul(z, h, r.m.Head(), kernels.Epilogue{})
	return r.host(z)
}

// scores are the log-probs of every token that has a predecessor, sequence by sequence.
type scores struct {
	logp, entropy []float32
	rows, targets kernels.Tensor // which rows of h predict them, and the ids
	hs            kernels.Tensor // these rows of h
	out           kernels.LogProbs
}

func (r *rig) score(h kernels.Tensor, seqs [][]int32, invTemp float32) (s scores) {
	var rows, targets []int32
	row := int32(0)
	for _, ids := range seqs {
		for i := 1; i < len(ids); i++ {
			rows, targets = append(rows, row+int32(i)-1), append(targets, ids[i])
		}
		row += int32(len(ids))
	}
	n := len(rows)
	if n == 0 {
		return s
	}
	s.rows, s.targets, s.hs = r.ids(rows), r.ids(targets), r.tensor(kernels.F32, n, h.Cols)
	s.out = kernels.LogProbs{Logp: r.tensor(kernels.F32, n, 1), Entropy: r.tensor(kernels.F32, n, 1),
		LSE: r.tensor(kernels.F32, n, 1)}
	r.d.Gather(s.hs, h, s.rows)
	r.d.LogProb(s.out, s.hs, r.m.Head(), s.targets, invTemp)
	s.logp, s.entropy = r.host(s.out.Logp), r.host(s.out.Entropy)
	return s
}

// loss is the sum of w*logp over whole sequences; w has a value a token, the first of each sequence unused.
func (r *rig) loss(seqs [][]int32, w [][]float32) (loss float64, h kernels.Tensor, s scores, dlogp []float32) {
	h = r.forward(seqs, nil)
	s = r.score(h, seqs, 1)
	for _, x := range w {
		dlogp = append(dlogp, x[1:]...)
	}
	for i, x := range dlogp {
		loss += float64(x) * float64(s.logp[i])
	}
	return loss, h, s, dlogp
}

// train adds the gradient of that loss.
func (r *rig) train(seqs [][]int32, w [][]float32) float64 {
	loss, h, s, dlogp := r.loss(seqs, w)
	dhs, dh := r.tensor(kernels.F32, s.hs.Rows, h.Cols), r.tensor(kernels.F32, h.Rows, h.Cols)
	r.d.LogProbBackward(dhs, r.m.HeadGrad(), s.hs, r.m.Head(), s.targets, s.out, r.floats(dlogp, len(dlogp)),
		kernels.Tensor{}, 1)
	r.d.ScatterAdd(dh, dhs, s.rows)
	r.m.Backward(r.ws, r.batch, r.kv, dh)
	return loss
}

func (r *rig) zeroGrads() {
	r.m.ZeroGrads()
	if r.a != nil {
		r.a.ZeroGrads()
	}
}

// greedy continues a prompt token by token through the cache.
func (r *rig) greedy(prompt []int32, n int) (out []int32) {
	pages := make([]int32, kernels.PagesFor(len(prompt)+n))
	for i := range pages {
		pages[i] = int32(len(pages) - 1 - i) // not in order, to see that they are looked up
	}
	next, start := prompt, 0
	z, id := r.tensor(kernels.F32, 1, r.m.Config.Vocab), r.tensor(kernels.I32, 1, 1)
	for range n {
		b := &Batch{Layout: kernels.Layout{IDs: next, Rows: []int32{int32(len(next) - 1)},
			Draws: []kernels.Sampling{{Greedy: true, InvTemp: 1}},
			Segs:  []kernels.Segment{{Len: len(next), Start: start, Pages: pages}}}}
		for i := range next {
			p := start + i
			b.Pos = append(b.Pos, int32(p))
			b.Slots = append(b.Slots, pages[p/kernels.PageSize]*kernels.PageSize+int32(p%kernels.PageSize))
		}
		h := r.m.Forward(r.ws, b, r.kv)
		r.d.MatMul(z, h.RowRange(h.Rows-1, 1), r.m.Head(), kernels.Epilogue{})
		r.d.Sample(id, kernels.LogProbs{}, z, r.ws.Batch(), 0)
		got := make([]int32, 1)
		require.NoError(r.t, kernels.Download(r.d, got, id))
		out, start, next = append(out, got[0]), start+len(next), got
	}
	return out
}

// adam drives the device's AdamW as torch does: clip by the global norm, then one step for every parameter.
type adam struct {
	r      *rig
	params []*Param
	m, v   []kernels.Tensor
	sum    kernels.Tensor
	t      int
}

func newAdam(r *rig, params []*Param) *adam {
	o := &adam{r: r, params: params, sum: r.tensor(kernels.F64, 1, 1)}
	for _, p := range params {
		o.m = append(o.m, r.tensor(kernels.F32, p.Master.Rows, p.Master.Cols))
		o.v = append(o.v, r.tensor(kernels.F32, p.Master.Rows, p.Master.Cols))
	}
	return o
}

// step returns the norm before clipping.
func (o *adam) step(g *golden) float64 {
	for i, p := range o.params {
		o.r.d.SumSquares(o.sum, p.Grad, nil, i > 0)
	}
	sum := make([]float64, 1)
	require.NoError(o.r.t, kernels.Download(o.r.d, sum, o.sum))
	norm := math.Sqrt(sum[0])
	o.t++
	for i, p := range o.params {
		o.r.d.AdamW(p.Master, p.Grad, o.m[i], o.v[i], kernels.AdamWStep{LR: g.Adam.LR, Beta1: g.Adam.Betas[0],
			Beta2: g.Adam.Betas[1],
			Eps:   g.Adam.Eps, WeightDecay: g.Adam.Decay, GradScale: float32(min(1, g.Adam.Clip/(norm+1e-6))),
			Step: o.t})
		o.r.m.Repack(p)
	}
	return norm
}
