package model

import (
	"encoding/json"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/num"
	"github.com/zerosearch-go/zerosearch/safetensors"
)

// values are all parameters of a model, by name.
func values(t testing.TB, m *Model) map[string][]float32 {
	all := map[string][]float32{}
	for _, p := range m.params {
		v, err := m.Read(p.Name, nil)
		require.NoError(t, err)
		all[p.Name] = v
	}
	return all
}

// smallChunks makes every matrix of more than 32 rows move in pieces.
func smallChunks(t *testing.T) {
	was := chunkElements
	chunkElements = 1
	t.Cleanup(func() { chunkElements = was })
}

// What was loaded is what the file has; saved and loaded again, no bit has changed, in one file or many, frozen or
// trainable.
func TestSaveLoad(t *testing.T) {
	smallChunks(t)
	for _, name := range modelCases {
		t.Run(name, func(t *testing.T) {
			eachDevice(t, func(t *testing.T, dev kernels.Device) {
				dir := caseDir(t, name)
				m := load(t, dev, dir, Options{DType: kernels.F32})
				want := values(t, m)
				set, err := safetensors.OpenDir(dir)
				require.NoError(t, err)
				defer set.Close()
				require.Len(t, want, len(set.Names()))
				for n, v := range want {
					x, _ := set.Tensor(n)
					raw := make([]float32, x.Elements())
					require.NoError(t, x.Float32(raw))
					require.Equal(t, raw, v, n)
				}
				for _, o := range []Options{{DType: kernels.F32}, {DType: kernels.F32, Trainable: true},
					{DType: kernels.BF16, Trainable: true}} {
					m := load(t, dev, dir, o)
					out := t.TempDir()
					require.NoError(t, m.Save(out, SaveOptions{DType: kernels.F32, MaxShardBytes: 40 << 10}))
					require.Equal(t, want, values(t, load(t, dev, out, Options{DType: kernels.F32})), "%v", o)
				}
				out := t.TempDir()
				require.NoError(t, m.Save(out, SaveOptions{}))
				for n, v := range want {
					num.RoundBF16Slice(v, v)
					want[n] = v
				}
				require.Equal(t, want, values(t, load(t, dev, out, Options{DType: kernels.F32})))
			})
		})
	}
}

func TestSavedFiles(t *testing.T) {
	eachDevice(t, func(t *testing.T, dev kernels.Device) {
		src, out := t.TempDir(), t.TempDir()
		require.NoError(t, os.CopyFS(src, os.DirFS(caseDir(t, "sharded"))))
		companions := []string{"added_tokens.json", "additional_chat_templates/tool_use.jinja", "chat_template.jinja",
			"chat_template.json",
			"special_tokens_map.json", "tokenizer.json", "tokenizer_config.json"}
		require.NoError(t, os.Mkdir(filepath.Join(src, "additional_chat_templates"), 0o777))
		for _, name := range append(companions, "additional_chat_templates/notes.txt", "README.md") {
			require.NoError(t, os.WriteFile(filepath.Join(src, name), []byte(name), 0o666))
		}
		m := load(t, dev, src, Options{})
		require.Equal(t, kernels.BF16, m.DType)
		require.NoError(t, m.Save(out, SaveOptions{}))
		text, err := os.ReadFile(filepath.Join(out, "config.json"))
		require.NoError(t, err)
		var was, is map[string]any
		require.NoError(t, json.Unmarshal(m.Config.Raw, &was))
		require.NoError(t, json.Unmarshal(text, &is))
		require.Equal(t, "bfloat16", is["dtype"])
		was["dtype"] = "bfloat16"
		require.Equal(t, was, is, "nothing but the dtype changes")
		var names []string
		require.NoError(t, fs.WalkDir(os.DirFS(out), ".", func(name string, e fs.DirEntry, err error) error {
			if !e.IsDir() {
				names = append(names, name)
			}
			return err
		}))
		require.ElementsMatch(t, append(companions, "config.json", "model.safetensors"), names)
		for _, name := range companions {
			text, err := os.ReadFile(filepath.Join(out, name))
			require.NoError(t, err)
			require.Equal(t, name, string(text))
		}
		set, err := safetensors.OpenDir(out)
		require.NoError(t, err)
		defer set.Close()
		require.Equal(t, "pt", set.Metadata()["format"])

		require.ErrorContains(t, m.Save(out, SaveOptions{DType: kernels.Q8}), "use bf16 or f32")
		file := filepath.Join(out, "config.json", "below")
		require.Error(t, m.Save(file, SaveOptions{}))
	})
}

// Merging while saving writes what merging into the weights gives, and leaves the model alone.
func TestSaveMerged(t *testing.T) {
	smallChunks(t)
	eachDevice(t, func(t *testing.T, dev kernels.Device) {
		m := random(t, dev, tinyConfigs()["qwen2"], Options{DType: kernels.F32}, 1)
		a := freshAdapter(t, m, AdapterConfig{R: 2, Alpha: 3, Targets: []string{"k_proj", "up_proj"}}, false, 2)
		before, out := values(t, m), t.TempDir()
		require.NoError(t, m.Save(out, SaveOptions{DType: kernels.F32, Merge: a}))
		require.Equal(t, before, values(t, m))
		require.NoError(t, m.Merge(a))
		after := values(t, m)
		require.Equal(t, after, values(t, load(t, dev, out, Options{DType: kernels.F32})))
		name := moduleName(1, projUp) + ".weight"
		pr := a.pairs[1][projUp]
		A, err := a.read(pr.A)
		require.NoError(t, err)
		B, err := a.read(pr.B)
		require.NoError(t, err)
		_, k := pr.A.size()
		want := before[name]
		for i := range want {
			for j := range pr.r {
				want[i] += pr.scale * B[i/k*pr.r+j] * A[j*k+i%k]
			}
		}
		near(t, name, after[name], want, 1e-6)
		require.Equal(t, before[moduleName(1, projGate)+".weight"], after[moduleName(1, projGate)+".weight"])
	})
}

// A copy is the model in another type; of a trainable one, its masters.
func TestClone(t *testing.T) {
	smallChunks(t)
	eachDevice(t, func(t *testing.T, dev kernels.Device) {
		c := tinyConfigs()["llama"]
		seqs, _ := randomIDs(c, 5, 9)
		states := func(m *Model) []float32 {
			r := newRig(t, m, 16, WorkspaceOptions{})
			return r.host(r.forward(seqs, nil))
		}
		for _, o := range []Options{{DType: kernels.F32}, {DType: kernels.BF16}, {DType: kernels.Q8}} {
			m := random(t, dev, c, o, 3)
			k, err := m.Clone(Options{})
			require.NoError(t, err)
			t.Cleanup(k.Close)
			require.Equal(t, states(m), states(k), o.DType.String())
		}
		m := random(t, dev, c, Options{DType: kernels.BF16, Trainable: true}, 3)
		k, err := m.Clone(Options{DType: kernels.F32, Trainable: true})
		require.NoError(t, err)
		t.Cleanup(k.Close)
		require.Equal(t, values(t, m), values(t, k))
		before := states(k)
		require.Equal(t, states(random(t, dev, c, Options{DType: kernels.F32}, 3)), before)
		dev.Zero(m.Params()[0].Master)
		m.Repack(m.Params()[0])
		require.Equal(t, before, states(k), "a copy is its own")
	})
}

// checkpoint writes tensors and a config.json, changed, from the case "odd".
func checkpoint(t *testing.T, config func(map[string]any), tensors func(map[string]*tensor)) string {
	src, dir := caseDir(t, "odd"), t.TempDir()
	text, err := os.ReadFile(filepath.Join(src, "config.json"))
	require.NoError(t, err)
	var c map[string]any
	require.NoError(t, json.Unmarshal(text, &c))
	if config != nil {
		config(c)
	}
	text, err = json.Marshal(c)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "config.json"), text, 0o666))
	set, err := safetensors.OpenDir(src)
	require.NoError(t, err)
	defer set.Close()
	all, names := map[string]*tensor{}, set.Names()
	for _, n := range names {
		x, _ := set.Tensor(n)
		v := make([]float32, x.Elements())
		require.NoError(t, x.Float32(v))
		all[n] = &tensor{x.DType, x.Shape, v}
	}
	if tensors != nil {
		tensors(all)
	}
	var specs []safetensors.Spec
	for n, x := range all {
		specs = append(specs, safetensors.Spec{Name: n, DType: x.dtype, Shape: x.shape})
	}
	require.NoError(t, safetensors.WriteSharded(dir, "model", 0, specs, nil, func(n string, w io.Writer) error {
		return safetensors.EncodeFloat32(w, all[n].dtype, all[n].v)
	}))
	return dir
}

type tensor struct {
	dtype safetensors.DType
	shape []int
	v     []float32
}

func TestLoadRefuses(t *testing.T) {
	smallChunks(t)
	const down = "model.layers.1.mlp.down_proj.weight"
	for name, c := range map[string]struct {
		config  func(map[string]any)
		tensors func(map[string]*tensor)
		says    string
	}{
		"missing": {nil, func(m map[string]*tensor) { delete(m, down) }, "missing from the checkpoint: " + down},
		"extra": {nil,
			func(m map[string]*tensor) { m["x.bias"] = &tensor{safetensors.F32, []int{1}, []float32{1}} },
			"no use for: x.bias"},
		"extra bias": {func(c map[string]any) { c["mlp_bias"] = false }, nil,
			"no use for: model.layers.0.mlp.down_proj.bias, model.layers.0.mlp.gate_proj.bias, " +
				"model.layers.0.mlp.up_proj.bias and 3 more"},
		"shape": {nil, func(m map[string]*tensor) { m[down].shape = []int{52, 40} },
			"tensor " + down + " has shape [52 40], config.json calls for [40 52]"},
		"vocabulary": {func(c map[string]any) { c["vocab_size"] = 132 }, nil,
			"tensor model.embed_tokens.weight has shape [131 40], config.json calls for [132 40]: vocab_size is 132 " +
				"and hidden_size 40, so vocabulary and embedding disagree"},
		"head": {nil, func(m map[string]*tensor) { delete(m, headName) },
			"tensor lm_head.weight is missing though tie_word_embeddings is false"},
		"type": {nil, func(m map[string]*tensor) { m[down].dtype = safetensors.F64 }, down + " has type F64"},
		"nan": {nil, func(m map[string]*tensor) { m[down].v[52*3+7] = float32(math.NaN()) },
			"tensor " + down + " has a value that is NaN or infinite at row 3, column 7"},
		"inf bf16": {nil, func(m map[string]*tensor) {
			m[down].dtype, m[down].v[5] = safetensors.BF16,
				float32(math.Inf(-1))
		}, "row 0, column 5"},
		"nan f16": {nil, func(m map[string]*tensor) {
			m[down].dtype, m[down].v[52*40-1] = safetensors.F16,
				float32(math.NaN())
		}, "row 39, column 51"},
		"layers": {func(c map[string]any) { c["num_hidden_layers"] = 9 }, nil, "and 109 more"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := checkpoint(t, c.config, c.tensors)
			eachDevice(t, func(t *testing.T, dev kernels.Device) {
				_, err := Load(dev, dir, Options{DType: kernels.F32})
				require.ErrorContains(t, err, c.says)
			})
		})
	}
	for name, f := range map[string]func(map[string]*tensor){
		"unchanged": nil,
		"old frequencies": func(m map[string]*tensor) {
			m["model.layers.0.self_attn.rotary_emb.inv_freq"] = &tensor{safetensors.F32, []int{1}, []float32{1}}
		},
		"largest f16": func(m map[string]*tensor) { m[down].dtype, m[down].v[5] = safetensors.F16, 65504 },
		"largest bf16": func(m map[string]*tensor) {
			m[down].dtype, m[down].v[6] = safetensors.BF16,
				-3.3895314e38
		},
		"smallest and -0.": func(m map[string]*tensor) {
			m[down].v[5], m[down].v[6] = 1e-45,
				float32(math.Copysign(0, -1))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := checkpoint(t, nil, f)
			eachDevice(t, func(t *testing.T, dev kernels.Device) { load(t, dev, dir, Options{DType: kernels.F32}) })
		})
	}
	eachDevice(t, func(t *testing.T, dev kernels.Device) {
		dir := checkpoint(t, nil, nil)
		file := filepath.Join(dir, "model.safetensors")
		require.NoError(t, os.Truncate(file, 5000))
		_, err := Load(dev, dir, Options{})
		require.ErrorContains(t, err, "model.safetensors")
		require.NoError(t, os.Remove(file))
		_, err = Load(dev, dir, Options{})
		require.ErrorContains(t, err, "has neither")
	})
}

// The scan of eight bytes at a time against a look at every element.
func TestNotFinite(t *testing.T) {
	g := newDraw(1, "bits")
	for range 2000 {
		words := make([]uint64, 1+g.Next()%5)
		for i := range words {
			words[i] = g.Next() & 0xbfff_bfff_bfff_bfff // without the highest place of an exponent: finite
		}
		for _, dtype := range []kernels.DType{kernels.F32, kernels.BF16, kernels.F16} {
			size := dtype.Size()
			chunk := bytesOf(words)
			chunk = chunk[:len(chunk)-int(g.Next()%uint64(8/size))*size]
			require.Equal(t, -1, notFinite(words, chunk, dtype))
			at := int(g.Next() % uint64(len(chunk)/size))
			bad := map[kernels.DType][]byte{kernels.F32: {1, 0, 0x80, 0x7f}, kernels.BF16: {0x80, 0xff},
				kernels.F16: {0, 0x7c}}[dtype]
			was := string(chunk[at*size:][:size])
			copy(chunk[at*size:], bad)
			require.Equal(t, at, notFinite(words, chunk, dtype), "%v", dtype)
			copy(chunk[at*size:], was)
		}
	}
}

// Fresh weights: the same on every machine, of the right spread, and loss near ln V before anything is learned.
func TestNewRandom(t *testing.T) {
	eachDevice(t, func(t *testing.T, dev kernels.Device) {
		c := &Config{Arch: "llama", Vocab: 300, Hidden: 64, Inter: 96, Layers: 8, Heads: 4, KVHeads: 2, HeadDim: 16,
			MaxPos: 64, Eps: 1e-5, RopeTheta: 1e4, Tied: true}
		m, err := NewRandom(dev, c, Options{DType: kernels.F32}, 42)
		require.NoError(t, err)
		t.Cleanup(m.Close)
		v := values(t, m)
		require.Equal(t, []float32{0.002849121, 0.021083985, 0.01142395}, v[embedName][:3])
		spread := func(x []float32) float64 {
			s := 0.0
			for _, e := range x {
				s += float64(e) * float64(e)
			}
			return math.Sqrt(s / float64(len(x)))
		}
		require.InDelta(t, 0.02, spread(v[embedName]), 0.0005)
		require.InDelta(t, 0.02/4, spread(v["model.layers.3.mlp.down_proj.weight"]), 0.0003)
		require.InDelta(t, 0.02/4, spread(v["model.layers.3.self_attn.o_proj.weight"]), 0.0003)
		require.Equal(t, 1.0, spread(v["model.layers.3.input_layernorm.weight"]))
		require.NotEqual(t, v["model.layers.3.mlp.up_proj.weight"], v["model.layers.2.mlp.up_proj.weight"])
		r := newRig(t, m, 64, WorkspaceOptions{})
		seqs, _ := randomIDs(c, 1, 40)
		mean := 0.0
		for _, lp := range r.score(r.forward(seqs, nil), seqs, 1).logp {
			mean -= float64(lp) / 39
		}
		require.InDelta(t, math.Log(300), mean, 0.05)
		_, err = NewRandom(dev, &Config{Arch: "gpt2"}, Options{}, 1)
		require.ErrorContains(t, err, `architecture "gpt2"`)
		bad := *c
		bad.QKNorm = true
		_, err = NewRandom(dev, &bad, Options{}, 1)
		require.ErrorContains(t, err, "do not go with architecture")
	})
}
