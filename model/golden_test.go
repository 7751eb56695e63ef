package model

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/zerosearch-go/zerosearch/internal/goldens"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/cpu"
	"github.com/zerosearch-go/zerosearch/kernels/ref"
	"github.com/zerosearch-go/zerosearch/safetensors"
)

// devices are what every golden is checked on.
var devices = map[string]func(t testing.TB) kernels.Device{
	"ref": func(testing.TB) kernels.Device { return ref.New() },
	"cpu": func(t testing.TB) kernels.Device {
		d, err := cpu.New(cpu.Options{Threads: 2})
		require.NoError(t, err)
		return d
	},
}

// eachDevice runs a test on all of them.
func eachDevice(t *testing.T, f func(t *testing.T, dev kernels.Device)) {
	for name, open := range devices {
		t.Run(name, func(t *testing.T) {
			dev := open(t)
			t.Cleanup(func() { require.NoError(t, dev.Close(), "something was not freed") })
			f(t, dev)
		})
	}
}

// folder finds a golden in testdata, else in the whole set; without it the test is skipped.
func folder(t testing.TB, rel string) string {
	return goldens.Local(t, "testdata", rel, "golden.json")
}

// golden is one case of reference values.
type golden struct {
	t   testing.TB
	dir string
	set *safetensors.Set

	Base      string
	HiddenSeq int `json:"hidden_seq"`
	Sequences int
	Adam      struct {
		LR, Eps float64
		Betas   [2]float64
		Decay   float64 `json:"weight_decay"`
		Clip    float64 `json:"max_grad_norm"`
		Steps   int
	} `json:"adamw_settings"`
	Scalars struct {
		CE    float64 `json:"loss_ce"`
		PG    float64 `json:"loss_pg"`
		AdamW []struct {
			Loss float64
			Norm float64 `json:"grad_norm"`
		}
	}
}

func openGolden(t testing.TB, rel string) *golden {
	g := &golden{t: t, dir: folder(t, rel)}
	text, err := os.ReadFile(filepath.Join(g.dir, "golden.json"))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, g))
	g.set, err = safetensors.OpenDir(filepath.Join(g.dir, "golden.safetensors"))
	require.NoError(t, err)
	t.Cleanup(func() { g.set.Close() })
	return g
}

func (g *golden) has(name string) bool { _, ok := g.set.Tensor(name); return ok }

func (g *golden) f32(name string) []float32 {
	t, ok := g.set.Tensor(name)
	require.True(g.t, ok, name)
	out := make([]float32, t.Elements())
	require.NoError(g.t, t.Float32(out))
	return out
}

func (g *golden) ints(name string) []int32 {
	t, ok := g.set.Tensor(name)
	require.True(g.t, ok, name)
	out := make([]int32, t.Elements())
	require.NoError(g.t, t.Int32(out))
	return out
}

// seqs are the case's sequences, and for each the weight of a token's log-prob in a loss: its mask, or its w.
func (g *golden) seqs(weights string) (seqs [][]int32, w [][]float32) {
	for i := range g.Sequences {
		name := "seq" + string(rune('0'+i)) + "."
		seqs = append(seqs, g.ints(name+"ids"))
		switch weights {
		case "mask":
			w = append(w, floats(g.ints(name+"mask")))
		case "w":
			w = append(w, g.f32(name+"w"))
		}
	}
	return seqs, w
}

// step is the batch of an AdamW step.
func (g *golden) step(s int) (seqs [][]int32, w [][]float32) {
	name := "adamw.step" + string(rune('0'+s)) + "."
	ids, mask := g.ints(name+"ids"), floats(g.ints(name+"mask"))
	for _, n := range g.ints(name + "lens") {
		seqs, w = append(seqs, ids[:n]), append(w, mask[:n])
		ids, mask = ids[n:], mask[n:]
	}
	return seqs, w
}

func floats(x []int32) []float32 {
	out := make([]float32, len(x))
	for i, v := range x {
		out[i] = float32(v)
	}
	return out
}

// meanLoss scales weights so that the sum of w*logp is minus the mean over masked tokens.
func meanLoss(w [][]float32) [][]float32 {
	n := 0.0
	for _, s := range w {
		for _, x := range s {
			n += float64(x)
		}
	}
	out := make([][]float32, len(w))
	for i, s := range w {
		for _, x := range s {
			out[i] = append(out[i], float32(-float64(x)/n))
		}
	}
	return out
}

// The cases of goldens/models, some of which travel with the repository, and small ones of the others.
var modelCases = []string{"llama", "llama-tied", "llama3-rope", "qwen2", "qwen3", "mistral", "sharded", "bf16", "f16",
	"odd",
	"small-llama-tied", "small-llama3-rope", "small-qwen2", "small-qwen3", "small-mistral", "small-f16"}

func TestGoldenForward(t *testing.T) {
	for _, name := range modelCases {
		t.Run(name, func(t *testing.T) {
			g := openGolden(t, "models/"+name)
			eachDevice(t, func(t *testing.T, dev kernels.Device) {
				g.t = t
				m := load(t, dev, g.dir, Options{DType: kernels.F32})
				r := newRig(t, m, 400, WorkspaceOptions{Keep: true})
				seqs, _ := g.seqs("")
				alone := make([][]float32, len(seqs))
				for i, ids := range seqs {
					pre := "seq" + string(rune('0'+i)) + "."
					h := r.forward([][]int32{ids}, nil)
					alone[i] = r.logits(h)
					near(t, pre+"logits", alone[i], g.f32(pre+"logits"), 1e-4)
					if i == g.HiddenSeq {
						r.checkHidden(g, h)
					}
					s := r.score(h, [][]int32{ids}, 1)
					near(t, pre+"logp", slices.Concat([]float32{0}, s.logp), g.f32(pre+"logp"), 1e-4)
					near(t, pre+"entropy", s.entropy, g.f32(pre + "entropy")[:len(ids)-1], 1e-4)
					near(t, pre+"logp_t07", slices.Concat([]float32{0}, r.score(h, [][]int32{ids}, 1/0.7).logp),
						g.f32(pre+"logp_t07"), 1e-4)
				}
				// Packed with others, no bit changes.
				require.Equal(t, slices.Concat(alone...), r.logits(r.forward(seqs, nil)), "packed and alone")
			})
		})
	}
}

// checkHidden compares the residual stream that the workspace kept.
func (r *rig) checkHidden(g *golden, h kernels.Tensor) {
	hidden := func(name string, x kernels.Tensor) {
		want := g.f32(name)
		near(r.t, name, r.host(x), want, 1e-5*float64(maxAbs(want)))
	}
	a := r.ws.cut.acts
	hidden("hidden.embed", a[0].x)
	for l := 1; l < len(a); l++ {
		hidden("hidden.layer"+string(rune('0'+l-1)), a[l].x)
	}
	hidden("hidden.layer"+string(rune('0'+len(a)-1)), r.ws.cut.last)
	hidden("hidden.norm", h)
}

// eachTrainable runs test on each golden model and device, with a workspace of so many rows that keeps activations.
func eachTrainable(t *testing.T, rows int, test func(r *rig, g *golden, params []*Param)) {
	for _, name := range modelCases {
		t.Run(name, func(t *testing.T) {
			g := openGolden(t, "models/"+name)
			eachDevice(t, func(t *testing.T, dev kernels.Device) {
				g.t = t
				m := load(t, dev, g.dir, Options{DType: kernels.F32, Trainable: true})
				test(newRig(t, m, rows, WorkspaceOptions{Keep: true}), g, m.Params())
			})
		})
	}
}

func TestGoldenGradients(t *testing.T) {
	eachTrainable(t, 400, func(r *rig, g *golden, params []*Param) { r.checkGrads(g, params) })
}

// checkGrads compares both losses and the gradients of params.
func (r *rig) checkGrads(g *golden, params []*Param) {
	seqs, mask := g.seqs("mask")
	require.InDelta(r.t, g.Scalars.CE, r.train(seqs, meanLoss(mask)), 5e-6, "loss_ce")
	for _, p := range params {
		nearGrad(r.t, p.Name, r.host(p.Grad), g.f32("grad_ce."+p.Name))
	}
	r.zeroGrads()
	_, w := g.seqs("w")
	require.InDelta(r.t, g.Scalars.PG, r.train(seqs, w), 5e-4, "loss_pg")
	for _, p := range params {
		if g.has("grad_pg." + p.Name) {
			nearGrad(r.t, p.Name, r.host(p.Grad), g.f32("grad_pg."+p.Name))
		}
	}
	r.zeroGrads()
}

func TestGoldenAdamW(t *testing.T) {
	eachTrainable(t, 200, func(r *rig, g *golden, params []*Param) { r.checkAdamW(g, params, 2e-3) })
}

// checkAdamW does the case's optimizer steps, and compares losses, norms and the weights at the end.
func (r *rig) checkAdamW(g *golden, params []*Param, worst float64) {
	o := newAdam(r, params)
	for s, want := range g.Scalars.AdamW {
		seqs, mask := g.step(s)
		require.InDelta(r.t, want.Loss, r.train(seqs, meanLoss(mask)), 1e-5, "loss of step %d", s)
		require.InEpsilon(r.t, want.Norm, o.step(g), 1e-5, "norm of step %d", s)
		r.zeroGrads()
	}
	far, all := 0, 0
	for _, p := range params {
		if !g.has("adamw.final." + p.Name) {
			continue
		}
		got, want := r.host(p.Master), g.f32("adamw.final."+p.Name)
		near(r.t, p.Name, got, want, worst)
		for i := range got {
			if math.Abs(float64(got[i]-want[i])) > 3e-6 {
				far++
			}
		}
		all += len(got)
	}
	require.LessOrEqual(r.t, far, all/1000, "of %d elements are off by more than 3e-6", all)
}

func TestGoldenGreedy(t *testing.T) {
	for _, name := range modelCases {
		t.Run(name, func(t *testing.T) {
			g := openGolden(t, "models/"+name)
			eachDevice(t, func(t *testing.T, dev kernels.Device) {
				g.t = t
				m := load(t, dev, g.dir, Options{DType: kernels.F32})
				for i := 0; g.has("gen" + string(rune('0'+i)) + ".ids"); i++ {
					pre := "gen" + string(rune('0'+i)) + "."
					r := newRig(t, m, 64, WorkspaceOptions{})
					want := g.ints(pre + "ids")
					require.Equal(t, want, r.greedy(g.ints(pre+"prompt"), len(want)), pre)
				}
			})
		})
	}
}

func TestGoldenLoRA(t *testing.T) {
	smallChunks(t)
	for _, name := range []string{"llama-r4", "bf16-qv-rslora"} {
		t.Run(name, func(t *testing.T) {
			g := openGolden(t, "lora/"+name)
			base := filepath.Join("testdata", "models", g.Base)
			eachDevice(t, func(t *testing.T, dev kernels.Device) {
				g.t = t
				m := load(t, dev, base, Options{DType: kernels.F32})
				a, err := LoadAdapter(m, g.dir, true)
				require.NoError(t, err)
				t.Cleanup(a.Close)
				r := newRig(t, m, 200, WorkspaceOptions{Keep: true})
				r.a = a
				seqs, _ := g.seqs("")
				var all []float32
				for i := range seqs {
					all = append(all, g.f32("seq"+string(rune('0'+i))+".logits")...)
				}
				near(t, "logits", r.logits(r.forward(seqs, nil)), all, 1e-4)
				r.checkGrads(g, a.Params())
				r.checkMerged(g, all)
				r.checkAdamW(g, a.Params(), 3e-6)
			})
		})
	}
}

// checkMerged compares merged weights, and the logits of a model into which the adapter was merged.
func (r *rig) checkMerged(g *golden, logits []float32) {
	for _, name := range g.set.Names() {
		if p, ok := strings.CutPrefix(name, "merged."); ok {
			got, err := r.m.Read(p, r.a)
			require.NoError(r.t, err)
			near(r.t, name, got, g.f32(name), 1e-6)
		}
	}
	m, err := r.m.Clone(Options{})
	require.NoError(r.t, err)
	defer m.Close()
	require.NoError(r.t, m.Merge(r.a))
	merged := newRig(r.t, m, 200, WorkspaceOptions{})
	seqs, _ := g.seqs("")
	near(r.t, "logits after merging", merged.logits(merged.forward(seqs, nil)), logits, 1e-4)
}

// near checks every element against a tolerance.
func near(t testing.TB, what string, got, want []float32, tol float64) {
	t.Helper()
	require.Len(t, got, len(want), what)
	for i := range got {
		if d := math.Abs(float64(got[i]) - float64(want[i])); !(d <= tol) {
			require.Failf(t, "too far", "%s[%d] = %v, want %v: off by %.3g, allowed %.3g", what, i, got[i], want[i], d,
				tol)
		}
	}
}

// nearGrad is the README's measure of a gradient: 5e-5 of the largest element, and the cosine.
func nearGrad(t testing.TB, what string, got, want []float32) {
	t.Helper()
	near(t, "gradient of "+what, got, want, 5e-5*float64(maxAbs(want)))
	var gw, gg, ww float64
	for i := range got {
		g, w := float64(got[i]), float64(want[i])
		gw, gg, ww = gw+g*w, gg+g*g, ww+w*w
	}
	if ww > 0 {
		require.Greater(t, gw/math.Sqrt(gg*ww), 1-1e-9, "cosine of %s", what)
	}
}

func maxAbs(x []float32) (m float32) {
	for _, v := range x {
		m = max(m, max(v, -v))
	}
	return m
}
