package model

import (
	"fmt"

	"github.com/zerosearch-go/zerosearch/kernels"
)

// WorkspaceOptions say what a workspace is for. The counts make room in advance, so that a lack of memory is an error
// of NewWorkspace; where a pass needs more than was said, room is made then, and a lack of memory panics.
type WorkspaceOptions struct {
	Keep bool // for Backward: keep activations
	// with Keep: layers that keep their input only and are computed again in Backward; nil: none
	Recompute func(layer int) bool
	Positions int               // positions 0..Positions-1 will occur
	Slots     int               // with Keep: slots of the training KV cache
	Rank      int               // largest rank of an adapter
	Batch     kernels.BatchSpec // of the passes; Tokens need not be said
}

// Workspace is the memory of a pass: scratch, and with Keep the activations that Backward needs. One pass at a time.
type Workspace struct {
	m    *Model
	max  int
	o    WorkspaceOptions
	bufs []kernels.Buffer

	full, cut tensors // for max tokens; for the t tokens of the pass under way
	t         int

	batch  kernels.Batch
	dk, dv kernels.Tensor // [S, G*D] gradients of one layer's keys and values, a row a slot
	u      kernels.Tensor // [max, R] of adapters, for every projection of every set of activations
	du     kernels.Tensor // [max, 3 R] of adapters: of as many projections share an input
	runs   []run
	walk   pass // the pass under way
	moves  int  // of batch and u
}

// tensors are the views of a pass, T rows each.
type tensors struct {
	acts    []acts         // a layer each
	last, h kernels.Tensor // [T, C] residual stream after the last layer; after the final norm

	// Scratch of one layer, forward and again in backward.
	n        kernels.Tensor // [T, C] a norm's output, read by products only
	q        kernels.Tensor // [T, H*D] queries after their norm (qk norm only)
	k, v, kn kernels.Tensor // [T, G*D]; kn: keys after their norm (qk norm only)
	act      kernels.Tensor // [T, F] the gated activation, read by products only

	// Scratch of backward.
	rstd         kernels.Tensor // [T, 1]
	rstdQ, rstdK kernels.Tensor // [T, H], [T, G]
	dx, dn       kernels.Tensor // [T, C]
	dq, dy       kernels.Tensor // [T, H*D]
	dact         kernels.Tensor // [T, F]
}

// acts are what a layer's backward needs. Without Keep all layers share one set, in which x2 is x.
type acts struct {
	x        kernels.Tensor // [T, C] the layer's input
	q        kernels.Tensor // [T, H*D] queries, before their norm or else after RoPE
	kp       kernels.Tensor // [T, G*D] keys before their norm (qk norm only)
	y        kernels.Tensor // [T, H*D] attention's output
	lse      kernels.Tensor // [T, H]; none without Keep
	x2       kernels.Tensor // [T, C] the residual stream between attention and MLP
	gate, up kernels.Tensor // [T, F]
}

// NewWorkspace makes room for passes of up to maxTokens tokens.
func (m *Model) NewWorkspace(maxTokens int, o WorkspaceOptions) (*Workspace, error) {
	if maxTokens < 1 {
		return nil, fmt.Errorf("workspace: %d tokens", maxTokens)
	}
	w := &Workspace{m: m, max: maxTokens, o: o, t: -1}
	a := newArena()
	w.lay(a)
	buf, err := a.alloc(m.Device)
	if err != nil {
		return nil, fmt.Errorf("workspace for %d tokens: %w", maxTokens, err)
	}
	w.bufs = append(w.bufs, buf)
	w.share()
	if err := w.Reserve(o); err != nil {
		w.Close()
		return nil, fmt.Errorf("workspace for %d tokens: %w", maxTokens, err)
	}
	return w, nil
}

// lay reserves the tensors of full.
func (w *Workspace) lay(a *arena) {
	c, f := w.m.Config, &w.full
	hd, gd := dimHD(c), dimGD(c)
	add := func(cols int, to ...*kernels.Tensor) {
		for _, t := range to {
			a.add(t, kernels.F32, w.max, cols)
		}
	}
	w.layActs(a, add)
	add(c.Hidden, &f.last, &f.h)
	a.add(&f.n, w.m.operand(), w.max, c.Hidden)
	a.add(&f.act, w.m.operand(), w.max, c.Inter)
	if w.o.Keep {
		add(gd, &f.k, &f.v)
	}
	if c.QKNorm {
		add(hd, &f.q)
		add(gd, &f.kn)
	}
	if !w.o.Keep {
		return
	}
	add(1, &f.rstd)
	add(c.Hidden, &f.dx, &f.dn)
	add(hd, &f.dq, &f.dy)
	add(c.Inter, &f.dact)
	if c.QKNorm {
		add(c.Heads, &f.rstdQ)
		add(c.KVHeads, &f.rstdK)
	}
}

// layActs reserves the activations that each layer keeps for the backward, and one extra set, the last, if some layer
// does not keep its own. Without Keep, the outputs of projections with the same input are adjacent columns, so that
// they can be computed as one matmul.
func (w *Workspace) layActs(a *arena, add func(cols int, to ...*kernels.Tensor)) {
	c := w.m.Config
	set := func(s *acts) { // everything but x, and x2 where it is x
		if !w.o.Keep {
			key := &w.full.k
			if c.QKNorm {
				key = &s.kp
			}
			a.columns(w.max, column{&s.q, dimHD(c)}, column{key, dimGD(c)}, column{&w.full.v, dimGD(c)})
			a.columns(w.max, column{&s.gate, c.Inter}, column{&s.up, c.Inter})
			add(dimHD(c), &s.y)
			return
		}
		add(dimHD(c), &s.q, &s.y)
		add(c.Inter, &s.gate, &s.up)
		if c.QKNorm {
			add(dimGD(c), &s.kp)
		}
		add(c.Heads, &s.lse)
		add(c.Hidden, &s.x2)
	}
	all := make([]acts, c.Layers+1)
	w.full.acts = all
	shared := false
	for l := range c.Layers {
		if w.o.Keep {
			add(c.Hidden, &all[l].x)
		}
		if w.keeps(l) {
			set(&all[l])
		} else {
			shared = true
		}
	}
	if shared {
		set(&all[c.Layers])
	}
}

// keeps reports whether layer l has activations of its own.
func (w *Workspace) keeps(l int) bool {
	return w.o.Keep && (w.o.Recompute == nil || !w.o.Recompute(l))
}

// sharing is the number of projections that share an input, at most: query, key and value.
const sharing = 3

// set is which set of activations layer l has, of how many.
func (w *Workspace) set(l int) (i, of int) {
	layers := w.m.Config.Layers
	for k := range layers {
		if w.keeps(k) {
			of++
			if k < l {
				i++
			}
		}
	}
	if !w.keeps(l) {
		i = of
	}
	return i, min(of+1, layers)
}

// lows is the number of u.
func (w *Workspace) lows() int {
	_, sets := w.set(0)
	return sets * int(numProjs)
}

// low is u of projection j of layer l for the rows [row, row+n), which use an adapter of rank r there: [n, r], dense.
func (w *Workspace) low(l int, j proj, row, n, r int) kernels.Tensor {
	set, _ := w.set(l)
	return kernels.Mat(w.u.Buf, kernels.F32, ((set*int(numProjs)+int(j))*w.max+row)*w.u.Cols, n, r)
}

// share gives the layers that keep nothing, or only their input, the shared set.
func (w *Workspace) share() {
	f := &w.full
	n := len(f.acts) - 1
	for l := range n {
		switch x := f.acts[l].x; {
		case !w.o.Keep:
			f.acts[l] = f.acts[n]
			f.acts[l].x, f.acts[l].x2 = f.last, f.last
		case !w.keeps(l):
			f.acts[l] = f.acts[n]
			f.acts[l].x = x
		}
	}
	f.acts = f.acts[:n]
	w.cut.acts = make([]acts, n)
}

// Reserve makes room for what grows with the passes, as o's counts say it.
func (w *Workspace) Reserve(o WorkspaceOptions) error {
	if err := w.reserve(o.Positions, o.Slots, o.Rank); err != nil {
		return err
	}
	return w.reserveBatch(o.Batch)
}

// reserve makes room for what grows with positions, slots and rank.
func (w *Workspace) reserve(positions, slots, rank int) error {
	d := w.m.Device
	if err := w.m.rope.grow(d, positions); err != nil {
		return err
	}
	gd, back := dimGD(w.m.Config), 0
	if w.o.Keep {
		back = 1 // what only Backward needs
	}
	for _, g := range []struct {
		t          *kernels.Tensor
		rows, cols int
	}{{&w.dk, back * slots, gd}, {&w.dv, back * slots, gd}, {&w.u, w.max * w.lows(), rank},
		{&w.du, back * w.max, rank * sharing}} {
		if g.rows <= g.t.Rows && g.cols <= g.t.Cols || g.rows*g.cols == 0 {
			continue
		}
		t, err := kernels.NewTensor(d, kernels.F32, g.rows, g.cols)
		if err != nil {
			return err
		}
		if !g.t.IsZero() {
			g.t.Buf.Free()
		}
		*g.t = t
		w.moves++
	}
	return nil
}

// need is reserve in the middle of a pass.
func (w *Workspace) need(positions, slots, rank int) {
	if err := w.reserve(positions, slots, rank); err != nil {
		panic(fmt.Sprintf("model: %v: say so in WorkspaceOptions to have this as an error before the pass", err))
	}
}

// reserveBatch makes room for batches of size s, as many tokens as the workspace takes at least.
func (w *Workspace) reserveBatch(s kernels.BatchSpec) error {
	s.Tokens = w.max
	if w.batch != nil {
		have := w.batch.Spec()
		if have.Covers(s) {
			return nil
		}
		s.Segments, s.Pages, s.Rows = max(s.Segments, have.Segments), max(s.Pages, have.Pages), max(s.Rows, have.Rows)
	}
	b, err := w.m.Device.NewBatch(s)
	if err != nil {
		return err
	}
	if w.batch != nil {
		w.batch.Free()
	}
	w.batch = b
	w.moves++
	return nil
}

// needBatch is reserveBatch in the middle of a pass.
func (w *Workspace) needBatch(s kernels.BatchSpec) {
	if err := w.reserveBatch(s); err != nil {
		panic(fmt.Sprintf("model: %v: say so in WorkspaceOptions to have this as an error before the pass", err))
	}
}

// Moved changes when memory that passes of w use has moved: what was recorded before must not be replayed.
func (w *Workspace) Moved() int { return w.moves + w.m.rope.moves }

// Batch is the batch of the pass under way.
func (w *Workspace) Batch() kernels.Batch { return w.batch }

// resize points cut at the first t rows of everything.
func (w *Workspace) resize(t int) {
	if w.t == t {
		return
	}
	w.t = t
	cut := func(x *kernels.Tensor) {
		if !x.IsZero() {
			*x = x.RowRange(0, t)
		}
	}
	layers := w.cut.acts
	w.cut = w.full
	w.cut.acts = layers
	c := &w.cut
	for _, x := range []*kernels.Tensor{&c.last, &c.h, &c.n, &c.q, &c.k, &c.v, &c.kn, &c.act,
		&c.rstd, &c.rstdQ, &c.rstdK, &c.dx, &c.dn, &c.dq, &c.dy, &c.dact} {
		cut(x)
	}
	for l := range layers {
		layers[l] = w.full.acts[l]
		a := &layers[l]
		for _, x := range []*kernels.Tensor{&a.x, &a.q, &a.kp, &a.y, &a.lse, &a.x2, &a.gate, &a.up} {
			cut(x)
		}
	}
}

// Bytes is the memory that the workspace holds.
func (w *Workspace) Bytes() int64 {
	var n int64
	for _, b := range w.bufs {
		n += b.Bytes()
	}
	for _, t := range []kernels.Tensor{w.dk, w.dv, w.u, w.du} {
		if !t.IsZero() {
			n += t.Buf.Bytes()
		}
	}
	if w.batch != nil {
		n += w.batch.Bytes()
	}
	return n
}

// Close frees the workspace.
func (w *Workspace) Close() {
	for _, t := range []*kernels.Tensor{&w.dk, &w.dv, &w.u, &w.du} {
		if !t.IsZero() {
			t.Buf.Free()
			*t = kernels.Tensor{}
		}
	}
	if w.batch != nil {
		w.batch.Free()
		w.batch = nil
	}
	for _, b := range w.bufs {
		b.Free()
	}
	w.bufs = nil
}
