package model

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/zerosearch-go/zerosearch/kernels"
	"pgregory.net/rapid"
)

// tinyConfigs are shapes that between them have every feature of the table.
func tinyConfigs() map[string]*Config {
	base := Config{Vocab: 37, Hidden: 20, Inter: 28, Layers: 2, Heads: 4, KVHeads: 2, HeadDim: 6, MaxPos: 64, Eps: 1e-5,
		RopeTheta: 1e4}
	with := func(f func(*Config)) *Config {
		c := base
		f(&c)
		return &c
	}
	return map[string]*Config{
		"llama": with(func(c *Config) { c.Arch, c.QKVBias, c.OBias, c.MLPBias = "llama", true, true, true }),
		"qwen2": with(func(c *Config) { c.Arch, c.QKVBias, c.Tied = "qwen2", true, true }),
		"qwen3": with(func(c *Config) { c.Arch, c.QKNorm, c.Tied, c.KVHeads = "qwen3", true, true, 1 }),
	}
}

// random makes a model with every parameter random and large enough to matter, biases and norms included.
func random(t testing.TB, dev kernels.Device, c *Config, o Options, seed uint64) *Model {
	m, err := NewRandom(dev, c, o, seed)
	require.NoError(t, err)
	t.Cleanup(m.Close)
	for _, p := range m.params {
		n, k := p.size()
		g := newDraw(seed, p.Name)
		m.fill(p, n, k, func(row []float32) {
			for i := range row {
				row[i] = float32(0.25 * g.normal())
				if p == m.norm || len(p.Shape) == 1 && p.Name[len(p.Name)-len("norm.weight"):] == "norm.weight" {
					row[i]++
				}
			}
		})
	}
	return m
}

func randomIDs(c *Config, seed uint64, lens ...int) (seqs [][]int32, w [][]float32) {
	g := rand.New(rand.NewPCG(seed, 1))
	for _, n := range lens {
		var ids []int32
		var ws []float32
		for range n {
			ids, ws = append(ids, g.Int32N(int32(c.Vocab))), append(ws, float32(g.NormFloat64()))
		}
		seqs, w = append(seqs, ids), append(w, ws)
	}
	return seqs, w
}

// freshAdapter has a random B too, or its A would have no gradient.
func freshAdapter(t testing.TB, m *Model, c AdapterConfig, trainable bool, seed uint64) *Adapter {
	a, err := NewAdapter(m, c, trainable, seed)
	require.NoError(t, err)
	t.Cleanup(a.Close)
	for _, p := range a.params {
		n, k := p.size()
		g := newDraw(seed+1, p.Name)
		a.fill(p, n, k, func(row []float32) {
			for i := range row {
				row[i] = float32(0.3 * g.normal())
			}
		})
	}
	return a
}

// The gradient of every parameter against finite differences of the loss, along the gradient itself and along a random
// direction.
func TestFiniteDifferences(t *testing.T) {
	for name, c := range tinyConfigs() {
		t.Run(name, func(t *testing.T) {
			eachDevice(t, func(t *testing.T, dev kernels.Device) {
				m := random(t, dev, c, Options{DType: kernels.F32, Trainable: true}, 7)
				r := newRig(t, m, 64, WorkspaceOptions{Keep: true})
				r.a = freshAdapter(t, m, AdapterConfig{R: 3, Alpha: 5}, true, 8)
				seqs, w := randomIDs(c, 9, 5, 1, 12)
				r.train(seqs, w)
				for _, p := range append(m.Params(), r.a.Params()...) {
					r.differences(p, seqs, w)
				}
			})
		})
	}
}

func (r *rig) differences(p *Param, seqs [][]int32, w [][]float32) {
	at, grad := r.host(p.Master), r.host(p.Grad)
	g := newDraw(1, p.Name)
	gnorm := 0.0
	for _, x := range grad {
		gnorm += float64(x) * float64(x)
	}
	gnorm = math.Sqrt(gnorm)
	require.Greater(r.t, gnorm, 1e-4, "%s: the gradient is nothing", p.Name)
	dir, want := make([]float64, len(at)), 0.0
	for i := range dir {
		dir[i] = float64(grad[i])/gnorm + g.normal()/math.Sqrt(float64(len(dir)))
		want += dir[i] * float64(grad[i])
	}
	loss := func(step float64) float64 {
		moved := make([]float32, len(at))
		for i := range at {
			moved[i] = float32(float64(at[i]) + step*dir[i])
		}
		kernels.Upload(r.d, p.Master, moved)
		r.m.Repack(p)
		l, _, _, _ := r.loss(seqs, w)
		return l
	}
	d := func(h float64) float64 { return (loss(h) - loss(-h)) / (2 * h) }
	h := 4e-3
	got := (4*d(h/2) - d(h)) / 3 // Richardson: the error is of fourth order
	loss(0)
	require.InDelta(r.t, want, got, 2e-3*max(gnorm, 1), "%s: gradient %v, finite difference %v, norm %v", p.Name, want,
		got, gnorm)
}

// Layers that are computed again give the gradients of layers that were kept, bit for bit.
func TestRecompute(t *testing.T) {
	for name, c := range tinyConfigs() {
		t.Run(name, func(t *testing.T) {
			eachDevice(t, func(t *testing.T, dev kernels.Device) {
				m := random(t, dev, c, Options{DType: kernels.F32, Trainable: true}, 7)
				seqs, w := randomIDs(c, 9, 5, 40, 3)
				grads := func(recompute func(int) bool) (all []float32) {
					r := newRig(t, m, 64, WorkspaceOptions{Keep: true, Recompute: recompute})
					m.ZeroGrads()
					r.train(seqs, w)
					for _, p := range m.Params() {
						all = append(all, r.host(p.Grad)...)
					}
					return all
				}
				kept := grads(nil)
				require.Equal(t, kept, grads(func(int) bool { return true }))
				require.Equal(t, kept, grads(func(l int) bool { return l == 0 }))
				require.Equal(t, kept, grads(func(l int) bool { return l == 1 }))
			})
			t.Run("adapter", func(t *testing.T) {
				eachDevice(t, func(t *testing.T, dev kernels.Device) {
					m := random(t, dev, c, Options{DType: kernels.F32}, 7)
					a := freshAdapter(t, m, AdapterConfig{R: 3, Alpha: 5}, true, 8)
					seqs, w := randomIDs(c, 9, 5, 40, 3)
					of := func(recompute func(int) bool) []float32 {
						r := newRig(t, m, 64, WorkspaceOptions{Keep: true, Recompute: recompute})
						r.a = a
						r.zeroGrads()
						r.train(seqs, w)
						return grads(r, a)
					}
					kept := of(nil)
					require.NotZero(t, maxAbs(kept))
					require.Equal(t, kept, of(func(int) bool { return true }))
					require.Equal(t, kept, of(func(l int) bool { return l == 0 }))
					require.Equal(t, kept, of(func(l int) bool { return l == 1 }))
				})
			})
		})
	}
}

// However a sequence is cut into passes, alone or among others, with Keep or without, its hidden states are the same
// bits.
func TestChunkingChangesNothing(t *testing.T) {
	for _, dtype := range []kernels.DType{kernels.F32, kernels.BF16, kernels.Q8} {
		t.Run(dtype.String(), func(t *testing.T) {
			eachDevice(t, func(t *testing.T, dev kernels.Device) {
				c := tinyConfigs()["qwen3"]
				m := random(t, dev, c, Options{DType: dtype}, 3)
				whole, parts := newRig(t, m, 256, WorkspaceOptions{Keep: true}), newRig(t, m, 256, WorkspaceOptions{})
				rapid.Check(t, func(rt *rapid.T) {
					lens := rapid.SliceOfN(rapid.IntRange(1, 70), 1, 3).Draw(rt, "lens")
					seqs, _ := randomIDs(c, rapid.Uint64().Draw(rt, "seed"), lens...)
					want := whole.host(whole.forward(seqs, nil))
					full := pack(seqs, nil)
					got := make([]float32, len(want))
					done := make([]int, len(seqs))
					for slices.Min(sub(lens, done)) > 0 || slices.Max(sub(lens, done)) > 0 {
						b, rows := &Batch{}, []int(nil)
						for i, s := range full.Segs {
							n := rapid.IntRange(0, lens[i]-done[i]).Draw(rt, "n")
							b.Segs = append(b.Segs, kernels.Segment{Row: len(b.IDs), Len: n, Start: done[i],
								Pages: s.Pages})
							for k := s.Row + done[i]; k < s.Row+done[i]+n; k++ {
								b.IDs, b.Pos, b.Slots = append(b.IDs, full.IDs[k]), append(b.Pos, full.Pos[k]),
									append(b.Slots, full.Slots[k])
								rows = append(rows, k)
							}
							done[i] += n
						}
						h := parts.host(m.Forward(parts.ws, b, parts.kv))
						for i, k := range rows {
							copy(got[k*c.Hidden:][:c.Hidden], h[i*c.Hidden:])
						}
					}
					if !slices.Equal(want, got) {
						rt.Fatalf("hidden states depend on how %v was cut", lens)
					}
				})
			})
		})
	}
}

func sub(a, b []int) []int {
	out := make([]int, len(a))
	for i := range a {
		out[i] = a[i] - b[i]
	}
	return out
}

// In a batch where every segment has another adapter, each is computed as in a batch of its own; gradients go to their
// own adapter.
func TestAdaptersInOneBatch(t *testing.T) {
	for _, dtype := range []kernels.DType{kernels.F32, kernels.BF16, kernels.Q8} {
		t.Run(dtype.String(), func(t *testing.T) {
			eachDevice(t, func(t *testing.T, dev kernels.Device) {
				c := tinyConfigs()["llama"]
				m := random(t, dev, c, Options{DType: dtype}, 3)
				a := freshAdapter(t, m, AdapterConfig{R: 3, Alpha: 5, RSLoRA: true}, true, 1)
				b := freshAdapter(t, m, AdapterConfig{R: 2, Alpha: 5, Targets: []string{"v_proj", "down_proj"}}, true,
					2)
				frozen := freshAdapter(t, m, AdapterConfig{R: 4, Alpha: 5}, false, 3)
				r := newRig(t, m, 256, WorkspaceOptions{Keep: true})
				seqs, w := randomIDs(c, 5, 4, 9, 1, 6, 30)
				use := []*Adapter{a, a, nil, b, frozen}
				var alone []float32
				for i := range seqs {
					alone = append(alone, r.host(r.forward(seqs[i:i+1], use[i:i+1]))...)
				}
				h := r.forward(seqs, use)
				require.Equal(t, alone, r.host(h))
				require.Empty(t, m.Params())
				require.Empty(t, frozen.Params())

				dh := r.floats(slices.Concat(flat(w, c.Hidden)...), h.Rows)
				m.Backward(r.ws, r.batch, r.kv, dh)
				together := grads(r, a, b)
				a.ZeroGrads()
				b.ZeroGrads()
				for _, part := range [][2]int{{0, 2}, {3, 4}} {
					i, j := part[0], part[1]
					h := r.forward(seqs[i:j], use[i:j])
					m.Backward(r.ws, r.batch, r.kv, r.floats(slices.Concat(flat(w[i:j], c.Hidden)...), h.Rows))
				}
				require.Equal(t, grads(r, a, b), together)
			})
		})
	}
}

// flat spreads a weight a token over all columns.
func flat(w [][]float32, cols int) (out [][]float32) {
	for _, s := range w {
		for i, x := range s {
			row := slices.Repeat([]float32{x}, cols)
			row[i%cols] *= -3
			out = append(out, row)
		}
	}
	return out
}

func grads(r *rig, adapters ...*Adapter) (all []float32) {
	for _, a := range adapters {
		for _, p := range a.Params() {
			all = append(all, r.host(p.Grad)...)
		}
	}
	return all
}

// A frozen base under an adapter gives the adapter the same gradient as a base that learns.
func TestFrozenBase(t *testing.T) {
	eachDevice(t, func(t *testing.T, dev kernels.Device) {
		c := tinyConfigs()["qwen3"]
		seqs, w := randomIDs(c, 5, 4, 9)
		var got [2][]float32
		for i, trainable := range []bool{false, true} {
			m := random(t, dev, c, Options{DType: kernels.F32, Trainable: trainable}, 3)
			r := newRig(t, m, 64, WorkspaceOptions{Keep: true, Positions: 64, Slots: 320, Rank: 8})
			r.a = freshAdapter(t, m, AdapterConfig{R: 3, Alpha: 5}, true, 1)
			r.train(seqs, w)
			got[i] = grads(r, r.a)
			require.Equal(t, trainable, !m.HeadGrad().IsZero())
		}
		require.Equal(t, got[1], got[0])
	})
}

// Rollouts that share the pages of their prompt, which is in the batch once with the sum of their gradients, teach the
// same as whole copies.
func TestSharedPrompt(t *testing.T) {
	for name, c := range tinyConfigs() {
		t.Run(name, func(t *testing.T) {
			eachDevice(t, func(t *testing.T, dev kernels.Device) {
				m := random(t, dev, c, Options{DType: kernels.F32, Trainable: true}, 3)
				r := newRig(t, m, 256, WorkspaceOptions{Keep: true})
				const prompt, tail, n = 32, 7, 3 // one page of prompt
				seqs, w := randomIDs(c, 5, prompt+tail, prompt+tail, prompt+tail)
				for i := range n {
					copy(seqs[i][:prompt], seqs[0])
					// only tails are trained, and their first token by the prompt's last row: left out here
					clear(w[i][:prompt+1])
				}
				r.train(seqs, w)
				var want [][]float32
				for _, p := range m.Params() {
					want = append(want, r.host(p.Grad))
				}
				m.ZeroGrads()
				r.trainShared(seqs, w, prompt)
				for i, p := range m.Params() {
					near(t, p.Name, r.host(p.Grad), want[i], 5e-5*float64(maxAbs(want[i])))
				}
			})
		})
	}
}

// trainShared is train with the first prompt tokens of all sequences once, on the first page.
func (r *rig) trainShared(seqs [][]int32, w [][]float32, prompt int) {
	b := pack([][]int32{seqs[0][:prompt]}, nil)
	var rows, targets []int32
	var dlogp []float32
	for i, ids := range seqs {
		pages := []int32{0, int32(i + 1)}
		b.Segs = append(b.Segs, kernels.Segment{Row: len(b.IDs), Len: len(ids) - prompt, Start: prompt, Pages: pages})
		for p := prompt; p < len(ids); p++ {
			if p > prompt {
				rows, targets, dlogp = append(rows, int32(len(b.IDs)-1)), append(targets, ids[p]),
					append(dlogp, w[i][p])
			}
			b.IDs, b.Pos, b.Slots = append(b.IDs, ids[p]), append(b.Pos, int32(p)),
				append(b.Slots, pages[1]*kernels.PageSize+int32(p-prompt))
		}
	}
	h := r.m.Forward(r.ws, b, r.kv)
	n := len(rows)
	hs, dhs, dh := r.tensor(kernels.F32, n, h.Cols), r.tensor(kernels.F32, n, h.Cols),
		r.tensor(kernels.F32, h.Rows, h.Cols)
	out := kernels.LogProbs{Logp: r.tensor(kernels.F32, n, 1), Entropy: r.tensor(kernels.F32, n, 1),
		LSE: r.tensor(kernels.F32, n, 1)}
	at, ids := r.ids(rows), r.ids(targets)
	r.d.Gather(hs, h, at)
	r.d.LogProb(out, hs, r.m.Head(), ids, 1)
	r.d.LogProbBackward(dhs, r.m.HeadGrad(), hs, r.m.Head(), ids, out, r.floats(dlogp, n), kernels.Tensor{}, 1)
	r.d.ScatterAdd(dh, dhs, at)
	r.m.Backward(r.ws, b, r.kv, dh)
}

// The caller's mistakes panic with what disagrees.
func TestMisuse(t *testing.T) {
	eachDevice(t, func(t *testing.T, dev kernels.Device) {
		c := tinyConfigs()["llama"]
		m := random(t, dev, c, Options{DType: kernels.F32}, 3)
		r := newRig(t, m, 8, WorkspaceOptions{})
		seg := func(row, n int) []kernels.Segment { return []kernels.Segment{{Row: row, Len: n, Pages: []int32{0}}} }
		ids := func(n int) []int32 { return make([]int32, n) }
		for what, b := range map[string]*Batch{
			"9 ids": {Layout: kernels.Layout{IDs: ids(9), Pos: ids(9), Slots: ids(9),
				Segs: seg(0, 9)}},
			"2 ids, 1 positions": {Layout: kernels.Layout{IDs: ids(2), Pos: ids(1), Slots: ids(2),
				Segs: seg(0, 2)}},
			"segments cover 1 rows": {Layout: kernels.Layout{IDs: ids(2), Pos: ids(2), Slots: ids(2),
				Segs: seg(0, 1)}},
			"expected to begin at 0": {Layout: kernels.Layout{IDs: ids(2), Pos: ids(2), Slots: ids(2),
				Segs: seg(1, 1)}},
			"1 segments, 2 adapters in": {Layout: kernels.Layout{IDs: ids(2), Pos: ids(2), Slots: ids(2),
				Segs: seg(0, 2)}, Adapters: make([]*Adapter, 2)},
		} {
			panicWith(t, what, func() { m.Forward(r.ws, b, r.kv) })
		}
		b := &Batch{Layout: kernels.Layout{IDs: ids(2), Pos: ids(2), Slots: []int32{0, 1}, Segs: seg(0, 2)}}
		h := m.Forward(r.ws, b, r.kv)
		panicWith(t, "keeps activations", func() { m.Backward(r.ws, b, r.kv, h) })
		require.Equal(t, 0, m.Forward(r.ws, &Batch{}, r.kv).Rows)
		_, err := m.NewWorkspace(0, WorkspaceOptions{})
		require.Error(t, err)
		_, err = NewRandom(dev, c, Options{DType: kernels.Q8, Trainable: true}, 1)
		require.ErrorContains(t, err, "q8 weights cannot be trained")
	})
}

// panicWith requires f to panic with a text that has part in it.
func panicWith(t testing.TB, part string, f func()) {
	t.Helper()
	defer func() { require.Contains(t, fmt.Sprint(recover()), part) }()
	f()
}
