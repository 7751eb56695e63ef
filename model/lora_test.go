package model

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/zerosearch-go/zerosearch/kernels"
)

// An adapter that is saved reads back the same, and its configuration as peft wrote it.
func TestAdapterSaveLoad(t *testing.T) {
	for _, name := range []string{"llama-r4", "bf16-qv-rslora"} {
		t.Run(name, func(t *testing.T) {
			eachDevice(t, func(t *testing.T, dev kernels.Device) {
				g := openGolden(t, "lora/"+name)
				m := load(t, dev, filepath.Join("testdata", "models", g.Base), Options{DType: kernels.F32})
				for _, trainable := range []bool{false, true} {
					a, err := LoadAdapter(m, g.dir, trainable)
					require.NoError(t, err)
					defer a.Close()
					out := t.TempDir()
					require.NoError(t, a.Save(out))
					b, err := LoadAdapter(m, out, false)
					require.NoError(t, err)
					defer b.Close()
					for _, p := range a.params {
						x, err := a.read(p)
						require.NoError(t, err)
						y, err := b.read(b.byName[p.Name])
						require.NoError(t, err)
						require.Equal(t, x, y, p.Name)
					}
					was, err := os.ReadFile(filepath.Join(g.dir, adapterConfigFile))
					require.NoError(t, err)
					is, err := os.ReadFile(filepath.Join(out, adapterConfigFile))
					require.NoError(t, err)
					base, err := filepath.Abs(m.Dir)
					require.NoError(t, err)
					want, err := setKey(was, strconv.Quote(base), "base_model_name_or_path") // found from everywhere
					require.NoError(t, err)
					require.Equal(t, string(want), string(is))
				}
			})
		})
	}
}

// A fresh adapter: A uniform within 1/sqrt(K), B zero, so that it changes nothing; saved, it says what it was made
// with.
func TestNewAdapter(t *testing.T) {
	eachDevice(t, func(t *testing.T, dev kernels.Device) {
		m := random(t, dev, tinyConfigs()["llama"], Options{DType: kernels.F32}, 1)
		c := AdapterConfig{R: 5, Alpha: 10, RSLoRA: true, Targets: []string{"q_proj", "layers.1.mlp.down_proj"},
			RankPattern:  []Pattern{{"layers.1.self_attn.q_proj", 2}},
			AlphaPattern: []Pattern{{"q_proj", 4}, {"down_proj", 3}}}
		a, err := NewAdapter(m, c, true, 7)
		require.NoError(t, err)
		defer a.Close()
		require.Len(t, a.Params(), 6)
		require.Equal(t, 5, a.Rank())
		require.Equal(t, float32(4/math.Sqrt(5)), a.pairs[0][projQ].scale)
		require.Equal(t, float32(4/math.Sqrt(2)), a.pairs[1][projQ].scale)
		require.Equal(t, float32(3/math.Sqrt(5)), a.pairs[1][projDown].scale)
		require.Nil(t, a.pairs[0][projDown])
		for _, p := range a.Params() {
			v, err := a.read(p)
			require.NoError(t, err)
			if strings.Contains(p.Name, "lora_B") {
				require.Zero(t, maxAbs(v))
				continue
			}
			bound := float32(1 / math.Sqrt(float64(p.Shape[1])))
			require.LessOrEqual(t, maxAbs(v), bound)
			require.Greater(t, maxAbs(v), 0.9*bound)
		}
		r := newRig(t, m, 32, WorkspaceOptions{})
		seqs, _ := randomIDs(m.Config, 1, 9)
		require.Equal(t, r.host(r.forward(seqs, nil)), r.host(r.forward(seqs, []*Adapter{a})))

		out := t.TempDir()
		require.NoError(t, a.Save(out))
		b, err := LoadAdapter(m, out, true)
		require.NoError(t, err)
		defer b.Close()
		for l := range a.pairs {
			for j, p := range a.pairs[l] {
				if p != nil {
					require.Equal(t, [2]any{p.r, p.scale}, [2]any{b.pairs[l][j].r, b.pairs[l][j].scale})
				}
			}
		}
		_, err = NewAdapter(m, AdapterConfig{R: 0, Alpha: 1}, true, 1)
		require.ErrorContains(t, err, "rank 0")
		_, err = NewAdapter(m, AdapterConfig{R: 1, Alpha: 1, Targets: []string{"wqkv"}}, true, 1)
		require.ErrorContains(t, err, `target module "wqkv" is not supported: adapters go on q_proj, k_proj`)
		_, err = NewAdapter(m, AdapterConfig{R: 1, Alpha: 1, Targets: []string{"layers.7.q_proj"}}, true, 1)
		require.ErrorContains(t, err, "match none")
		all, err := NewAdapter(m, AdapterConfig{R: 1, Alpha: 1, Targets: []string{"all-linear"}}, true, 1)
		require.NoError(t, err)
		defer all.Close()
		require.Len(t, all.Params(), 2*7*2)
	})
}

// adapterText is an adapter_config.json with keys changed, nil removing one.
func adapterText(t testing.TB, changes map[string]any) []byte {
	m := map[string]any{"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": []string{"q_proj"},
		"bias":     "none",
		"use_dora": false, "modules_to_save": nil, "layer_replication": []int{}}
	maps.Copy(m, changes)
	text, err := json.Marshal(m)
	require.NoError(t, err)
	return text
}

func TestAdapterConfig(t *testing.T) {
	modules := func(changes map[string]any) (out []string) {
		c, err := ParseAdapterConfig(adapterText(t, changes))
		require.NoError(t, err)
		match, err := c.matcher()
		require.NoError(t, err)
		for l := range 12 {
			for j := projQ; j < numProjs; j++ {
				if m := moduleName(l, j); match(m) {
					r, alpha, err := c.rankAlpha(m)
					require.NoError(t, err)
					out = append(out, fmt.Sprintf("%d.%s r%d a%v", l, m[strings.LastIndexByte(m, '.')+1:], r, alpha))
				}
			}
		}
		return out
	}
	require.Len(t, modules(nil), 12)
	require.Len(t, modules(map[string]any{"target_modules": "all-linear"}), 84)
	require.Equal(t, []string{"1.q_proj r4 a8", "11.q_proj r4 a8"},
		modules(map[string]any{"layers_to_transform": []int{1, 11}}))
	require.Equal(t, []string{"1.q_proj r4 a8"}, modules(map[string]any{"layers_to_transform": 1}))
	require.Equal(t, []string{"3.o_proj r4 a8"},
		modules(map[string]any{"target_modules": []string{"model.layers.3.self_attn.o_proj"}}))
	// A module that is named in full is adapted whatever layers_to_transform says, as in peft.
	require.Equal(t, []string{"1.q_proj r4 a8", "3.o_proj r4 a8"},
		modules(map[string]any{"target_modules": []string{"q_proj", "model.layers.3.self_attn.o_proj"},
			"layers_to_transform": 1}))
	require.Len(t, modules(map[string]any{"target_modules": "All-Linear"}), 84)
	require.Equal(t, []string{"1.v_proj r4 a8", "2.v_proj r4 a8"},
		modules(map[string]any{"target_modules": `.*layers\.[12]\..*v_proj`}))
	require.Len(t, modules(map[string]any{"exclude_modules": []string{"3.self_attn.q_proj"}}), 11)
	require.Equal(t, []string{"1.q_proj r4 a16", "2.q_proj r2 a8"},
		modules(map[string]any{"layers_to_transform": []int{1, 2},
			"rank_pattern":  json.RawMessage(`{"layers.2.self_attn.q_proj": 2, "2.self_attn.q_proj": 3}`),
			"alpha_pattern": map[string]any{"1.self_attn.q_proj": 16}}))
	// The first key that matches counts, in the order of the file; a key matches at a dot only.
	require.Equal(t, []string{"2.q_proj r3 a8"}, modules(map[string]any{"layers_to_transform": 2,
		"rank_pattern": json.RawMessage(`{"proj": 9, "z.*": 8, ".*q_proj": 3, "q_proj": 2}`)}))

	for says, changes := range map[string]map[string]any{
		`peft_type "IA3"`:                          {"peft_type": "IA3", "feedforward_modules": []string{"down_proj"}},
		"peft_type is missing":                     {"peft_type": nil},
		"use_dora is true, which is not supported": {"use_dora": true},
		`modules_to_save is ["lm_head"], which`:    {"modules_to_save": []string{"lm_head"}},
		"layer_replication is [[0,1]], which":      {"layer_replication": [][]int{{0, 1}}},
		`bias "all"`:                               {"bias": "all"},
		"r or lora_alpha is missing":               {"lora_alpha": nil},
		"rank 0":                                   {"r": 0},
		"rank 1000000000":                          {"r": 1000000000},
		"target_modules is missing":                {"target_modules": nil},
		`module "lm_head"`:                         {"target_modules": []string{"q_proj", "lm_head"}},
		"list the modules by name":                 {"target_modules": "(?!x)q_proj"},
		"target_modules: a number where":           {"target_modules": 5},
		`pattern "(" of a module`:                  {"rank_pattern": map[string]any{"(": 3}},
		"rank_pattern: a string where":             {"rank_pattern": map[string]any{"q_proj": "x"}},
		"rank_pattern: not an object":              {"rank_pattern": []int{1}},
		"layers_to_transform: a string where":      {"layers_to_transform": "all"},
		"not a usable adapter_config.":             {"r": "four"},
	} {
		_, err := ParseAdapterConfig(adapterText(t, changes))
		require.ErrorContains(t, err, says)
	}
}

func TestLoadAdapterRefuses(t *testing.T) {
	eachDevice(t, func(t *testing.T, dev kernels.Device) {
		src := filepath.Join("testdata", "lora", "bf16-qv-rslora")
		m := load(t, dev, caseDir(t, "bf16"), Options{DType: kernels.F32})
		try := func(trainable bool, changes map[string]any) error {
			dir := t.TempDir()
			require.NoError(t, os.CopyFS(dir, os.DirFS(src)))
			var c map[string]any
			text, err := os.ReadFile(filepath.Join(dir, adapterConfigFile))
			require.NoError(t, err)
			require.NoError(t, json.Unmarshal(text, &c))
			maps.Copy(c, changes)
			text, err = json.Marshal(c)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(filepath.Join(dir, adapterConfigFile), text, 0o666))
			a, err := LoadAdapter(m, dir, trainable)
			if err == nil {
				a.Close()
			}
			return err
		}
		require.NoError(t, try(true, nil))
		require.ErrorContains(t, try(false, map[string]any{"r": 2}),
			"has shape [3 32], the model and the rank call for [2 32]")
		require.ErrorContains(t, try(false, map[string]any{"target_modules": []string{"q_proj"}}),
			"does not belong to an adapter of this model with target_modules [q_proj]")
		require.ErrorContains(t, try(false, map[string]any{"target_modules": []string{"q_proj", "v_proj", "o_proj"}}),
			"o_proj.lora_A.weight is missing")
		require.NoError(t, try(false, map[string]any{"lora_dropout": 0.1}))
		require.ErrorContains(t, try(true, map[string]any{"lora_dropout": 0.1}), "training with dropout")
		require.ErrorContains(t, try(false, map[string]any{"rank_pattern": map[string]any{"q_proj": 1.5}}),
			"the rank 1.5")
		// to the operations a scale of 0 is none, and a scale is a float32
		for _, alpha := range []any{0, 1e-60, 1e300} {
			require.ErrorContains(t, try(false, map[string]any{"lora_alpha": alpha}), "q_proj alpha ")
			require.ErrorContains(t, try(false, map[string]any{"alpha_pattern": map[string]any{"v_proj": alpha}}),
				"v_proj alpha ")
		}
		_, err := LoadAdapter(m, t.TempDir(), false)
		require.ErrorContains(t, err, "adapter_config.json")
		pickled := t.TempDir()
		require.NoError(t, os.CopyFS(pickled, os.DirFS(src)))
		tensors := filepath.Join(pickled, adapterFile)
		require.NoError(t, os.Rename(tensors, filepath.Join(pickled, "adapter_model.bin")))
		_, err = LoadAdapter(m, pickled, false)
		require.ErrorContains(t, err, "it has adapter_model.bin, which holds Python objects")
		other := random(t, dev, tinyConfigs()["llama"], Options{DType: kernels.F32}, 1)
		_, err = LoadAdapter(other, src, false)
		require.ErrorContains(t, err, "has shape")
	})
}

// FuzzAdapterConfig: whatever is read is refused or can be asked about every module and written back.
func FuzzAdapterConfig(f *testing.F) {
	f.Add(adapterText(f, nil))
	f.Add(adapterText(f, map[string]any{"target_modules": ".*", "rank_pattern": map[string]any{"q_.*": 3},
		"layers_to_transform": 1}))
	for _, name := range []string{"llama-r4", "bf16-qv-rslora"} {
		text, err := os.ReadFile(filepath.Join("testdata", "lora", name, adapterConfigFile))
		require.NoError(f, err)
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := ParseAdapterConfig(text)
		if err != nil {
			return
		}
		match, err := c.matcher()
		require.NoError(t, err)
		for j := projQ; j < numProjs; j++ {
			if m := moduleName(3, j); match(m) {
				if r, alpha, err := c.rankAlpha(m); err == nil {
					require.True(t, finite(float64(c.scale(r, alpha))) || math.Abs(alpha) > 1e30)
				}
			}
		}
		c.raw = nil
		if c.pattern == "" && c.exclude == "" {
			_, err = ParseAdapterConfig(c.JSON())
			require.NoError(t, err)
		}
	})
}
