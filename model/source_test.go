package model

import (
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/ref"
	"github.com/zerosearch-go/zerosearch/safetensors"
)

// What a file holds of tied embeddings counts, as in transformers 5: one matrix is both, two that are equal are one,
// two that differ are two.
func TestTiedHeadInFile(t *testing.T) {
	tied := func(c map[string]any) { c["tie_word_embeddings"] = true }
	same := func(m map[string]*tensor) { m[headName] = m[embedName] }
	for name, c := range map[string]struct {
		tensors func(map[string]*tensor)
		tied    bool
		from    string // the tensor that the embedding is
	}{
		"embedding only": {func(m map[string]*tensor) { delete(m, headName) }, true, embedName},
		"output only":    {func(m map[string]*tensor) { delete(m, embedName) }, true, headName},
		"both, equal":    {same, true, embedName},
		"both, 0 and -0": {func(m map[string]*tensor) {
			same(m)
			m[embedName].v[7] = 0
			m[headName] = &tensor{safetensors.F32, m[embedName].shape, slices.Clone(m[embedName].v)}
			m[headName].v[7] = float32(math.Copysign(0, -1))
		}, true, embedName},
		"both, equal in two types": {func(m map[string]*tensor) {
			v := make([]float32, len(m[embedName].v))
			for i := range v {
				v[i] = float32(i%7) - 3
			}
			m[embedName].v, m[headName] = v, &tensor{safetensors.F16, m[embedName].shape, v}
		}, true, embedName},
		"both, one element differs": {func(m map[string]*tensor) {
			same(m)
			m[headName] = &tensor{safetensors.F32, m[embedName].shape, slices.Clone(m[embedName].v)}
			m[headName].v[131*40-1] += 1
		}, false, embedName},
		"both, differing": {nil, false, embedName},
	} {
		t.Run(name, func(t *testing.T) {
			var head, want []float32
			dir := checkpoint(t, tied, func(m map[string]*tensor) {
				if c.tensors != nil {
					c.tensors(m)
				}
				want = m[c.from].v
				if h := m[headName]; h != nil {
					head = h.v
				}
			})
			eachDevice(t, func(t *testing.T, dev kernels.Device) {
				again := t.TempDir()
				for _, dir := range []string{dir, again} {
					m := load(t, dev, dir, Options{DType: kernels.F32})
					require.Equal(t, c.tied, m.Config.Tied)
					require.Equal(t, c.tied, m.head == nil)
					got, err := m.Read(embedName, nil)
					require.NoError(t, err)
					require.Equal(t, want, got)
					if !c.tied {
						got, err := m.Read(headName, nil)
						require.NoError(t, err)
						require.Equal(t, head, got)
					}
					if dir != again { // what is saved says what it is, so that nothing has to be noted
						require.Equal(t, !c.tied, len(m.Config.Notes) == 1, "%v", m.Config.Notes)
						require.NoError(t, m.Save(again, SaveOptions{DType: kernels.F32}))
					} else {
						require.Empty(t, m.Config.Notes)
					}
				}
			})
			q8 := filepath.Join(t.TempDir(), "q8")
			require.NoError(t, Quantize(t.Context(), dir, q8, QuantizeOptions{}))
			m := load(t, ref.New(), q8, Options{})
			require.Equal(t, c.tied, m.Config.Tied)
			require.NoError(t, m.Config.Check())
		})
	}
}

// Tensors of wrapped models and of other tasks are named for what they are.
func TestForeignCheckpoints(t *testing.T) {
	rename := func(f func(string) string) func(map[string]*tensor) {
		return func(m map[string]*tensor) {
			for n, x := range maps.Clone(m) {
				delete(m, n)
				m[f(n)] = x
			}
		}
	}
	add := func(names ...string) func(map[string]*tensor) {
		return func(m map[string]*tensor) {
			for _, n := range names {
				m[n] = &tensor{safetensors.F32, []int{1, 40}, make([]float32, 40)}
			}
		}
	}
	for name, c := range map[string]struct {
		tensors func(map[string]*tensor)
		says    string
	}{
		"DDP": {rename(func(n string) string { return "module." + n }),
			`contain "module.", which is added by DataParallel`},
		"compiled": {rename(func(n string) string { return "_orig_mod." + n }),
			`contain "_orig_mod.", which is added by torch.compile`},
		"two": {rename(func(n string) string { return "_orig_mod.module." + n }), `"module." and "_orig_mod."`},
		"inside": {rename(func(n string) string {
			return strings.Replace(n, ".self_attn.", "._checkpoint_wrapped_module.self_attn.", 1)
		}),
			"added by activation checkpointing"},
		"peft": {rename(func(n string) string {
			return "base_model.model." + strings.Replace(n, "q_proj.", "q_proj.base_layer.", 1)
		}), "added by peft"},
		"peft with adapters": {func(m map[string]*tensor) {
			rename(func(n string) string { return "base_model.model." + n })(m)
			add("base_model.model.model.layers.0.self_attn.q_proj.lora_A.default.weight")(m)
		}, "it holds the tensors of an adapter beside those of its base"},
		"some wrapped": {rename(func(n string) string {
			return strings.Replace(n, "model.layers.1",
				"module.model.layers.1", 1)
		}), `"module."`},
		"value head": {add("v_head.summary.weight", "v_head.summary.bias"),
			"v_head.summary.bias is a value head, which " +
				"TRL"},
		"TRL": {func(m map[string]*tensor) {
			rename(func(n string) string { return "pretrained_model." + n })(m)
			add("v_head.summary.weight")(m)
		}, "TRL's models with a value head"},
		"classifier": {func(m map[string]*tensor) { delete(m, headName); add("score.weight")(m) },
			"score.weight is the head of a sequence classifier"},
		"bare": {rename(func(n string) string { return strings.TrimPrefix(n, "model.") }),
			`do not begin with "model."`},
		"part of another": {rename(func(n string) string { return "vlm.language_model." + n }),
			`begin with "vlm.language_model."`},
	} {
		t.Run(name, func(t *testing.T) {
			dir := checkpoint(t, nil, c.tensors)
			_, err := Load(ref.New(), dir, Options{DType: kernels.F32})
			require.ErrorContains(t, err, c.says)
			require.NotContains(t, err.Error(), "download")
			require.ErrorContains(t, Quantize(t.Context(), dir, filepath.Join(t.TempDir(), "q8"), QuantizeOptions{}),
				c.says)
		})
	}
}

// Adapters whose tensors carry the adapter's name, as state_dict of a peft model has them, load; files that do not
// belong are named.
func TestAdapterNames(t *testing.T) {
	src := filepath.Join("testdata", "lora", "bf16-qv-rslora")
	m := load(t, ref.New(), caseDir(t, "bf16"), Options{DType: kernels.F32})
	plain, err := LoadAdapter(m, src, false)
	require.NoError(t, err)
	defer plain.Close()
	open := func(rename func(i int, name string) string) (*Adapter, error) {
		dir := t.TempDir()
		text, err := os.ReadFile(filepath.Join(src, adapterConfigFile))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, adapterConfigFile), text, 0o666))
		var specs []safetensors.Spec
		values := map[string][]float32{}
		for i, p := range plain.All() {
			name := rename(i, p.Name)
			specs = append(specs, safetensors.Spec{Name: name, DType: safetensors.F32, Shape: p.Shape})
			values[name], err = plain.read(p)
			require.NoError(t, err)
		}
		w, err := safetensors.Create(filepath.Join(dir, adapterFile), specs, nil)
		require.NoError(t, err)
		for n, v := range values {
			require.NoError(t, w.WriteFloat32(n, v))
		}
		require.NoError(t, w.Close())
		return LoadAdapter(m, dir, false)
	}
	named := func(adapter string) func(int, string) string {
		return func(_ int, n string) string { return strings.TrimSuffix(n, "weight") + adapter + ".weight" }
	}
	for _, name := range []string{"default", "policy", "a.b"} {
		a, err := open(named(name))
		require.NoError(t, err)
		for i, p := range plain.All() {
			want, err := plain.read(p)
			require.NoError(t, err)
			got, err := a.read(a.All()[i])
			require.NoError(t, err)
			require.Equal(t, want, got)
		}
		a.Close()
	}
	for says, rename := range map[string]func(int, string) string{
		`of several adapters ("default", "other")`: func(i int, n string) string {
			return named([]string{"default",
				"other"}[min(i/2, 1)])(i, n)
		},
		`of several adapters ("", "default")`: func(i int, n string) string {
			if i == 0 {
				return n
			}
			return named("default")(i, n)
		},
		`begin with "module."`: func(_ int, n string) string { return "module." + n },
		"do not begin with base_model.model.": func(_ int, n string) string {
			return strings.TrimPrefix(n, adapterPrefix)
		},
		"tensor x.layers.0.self_attn.q_proj.lora_A.weight does not belong": func(_ int, n string) string {
			return "x." + strings.TrimPrefix(n, adapterPrefix+"model.")
		},
	} {
		_, err := open(rename)
		require.ErrorContains(t, err, says)
	}
}

// Without its output matrix an untied model loads for its hidden states alone. (A decoder whose names have no "model."
// before them loads so too: the model of rl/dense is one.)
func TestHeadless(t *testing.T) {
	dev := ref.New()
	c := *tinyConfigs()["qwen3"]
	m := random(t, dev, &c, Options{DType: kernels.F32}, 3)
	dir := t.TempDir()
	require.NoError(t, m.Save(dir, SaveOptions{DType: kernels.F32}))
	want := forwardOf(t, m)
	path := filepath.Join(dir, "config.json")
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	untied := strings.Replace(string(text), `"tie_word_embeddings": true`, `"tie_word_embeddings": false`, 1)
	require.NotEqual(t, string(text), untied)
	require.NoError(t, os.WriteFile(path, []byte(untied), 0o644))
	_, err = Load(dev, dir, Options{DType: kernels.F32})
	require.ErrorContains(t, err, "lm_head.weight is missing")
	require.Equal(t, want, forwardOf(t, load(t, dev, dir, Options{DType: kernels.F32, Headless: true})))
}

func forwardOf(t *testing.T, m *Model) []float32 {
	r := newRig(t, m, 64, WorkspaceOptions{})
	return r.host(r.forward([][]int32{{1, 2, 3}}, nil))
}
