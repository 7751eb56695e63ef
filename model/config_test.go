package model

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/zerosearch-go/zerosearch/internal/goldens"
	"github.com/zerosearch-go/zerosearch/kernels"
)

// smol is SmolLM2-135M-Instruct's config.json, in the old spelling without head_dim.
const smol = `{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "attention_bias": false, "bos_token_id": 1, "eos_token_id": 2,
 "pad_token_id": 2, "hidden_act": "silu", "hidden_size": 576, "intermediate_size": 1536, "max_position_embeddings": 8192,
 "num_attention_heads": 9, "num_hidden_layers": 30, "num_key_value_heads": 3, "rms_norm_eps": 1e-05, "rope_scaling": null,
 "rope_theta": 100000.0, "tie_word_embeddings": true, "torch_dtype": "bfloat16", "vocab_size": 49152}`

// edited is smol with keys changed; a nil value removes the key, json.RawMessage("null") sets null.
func edited(t testing.TB, changes map[string]any) []byte {
	t.Helper()
	var m map[string]any
	require.NoError(t, json.Unmarshal([]byte(smol), &m))
	maps.Copy(m, changes)
	for k, v := range m {
		if v == nil {
			delete(m, k)
		}
	}
	text, err := json.Marshal(m)
	require.NoError(t, err)
	return text
}

func TestParseConfig(t *testing.T) {
	c, err := ParseConfig([]byte(smol))
	require.NoError(t, err)
	require.Equal(t, smol, string(c.Raw))
	c.Raw = nil
	require.Equal(t, &Config{Arch: "llama", Vocab: 49152, Hidden: 576, Inter: 1536, Layers: 30, Heads: 9, KVHeads: 3,
		HeadDim: 64, MaxPos: 8192,
		Eps: 1e-5, RopeTheta: 100000, Tied: true, BOS: []int32{1}, EOS: []int32{2}, DType: "bfloat16"}, c)
}

func TestStatsOfSmolLM2(t *testing.T) {
	c, err := ParseConfig([]byte(smol))
	require.NoError(t, err)
	require.EqualValues(t, 134_515_008, c.Parameters()) // as its model card and transformers count
	matrices := c.Parameters() - 61*576
	require.EqualValues(t, 2*matrices+4*61*576, c.WeightBytes(kernels.BF16))
	require.EqualValues(t, 4*c.Parameters(), c.WeightBytes(kernels.F32))
	require.EqualValues(t, matrices/32*34+4*61*576, c.WeightBytes(kernels.Q8))
	require.Equal(t, c.WeightBytes(kernels.Q8), c.WeightBytesOn(kernels.SizesOf("ref", 1), kernels.Q8))
	require.Equal(t, [][]kernels.Shape{{{N: 576, K: 576}, {N: 192, K: 576}, {N: 192, K: 576}}, {{N: 576, K: 576}},
		{{N: 1536, K: 576}, {N: 1536, K: 576}}, {{N: 576, K: 1536}}}, c.Products())
	require.EqualValues(t, 2*30*192*2, c.KVBytes(kernels.BF16))
	require.EqualValues(t, 2*(matrices-49152*576), c.FLOPs(-1, false))
	require.EqualValues(t, 2*matrices+30*4*576*100, c.FLOPs(99, true))
	workspace := func(o WorkspaceOptions) float64 {
		return float64(c.WorkspaceBytes(kernels.SizesOf("ref", 1), kernels.BF16, 1000, o)) / 1000
	}
	keep := workspace(WorkspaceOptions{Keep: true})
	lean := workspace(WorkspaceOptions{Keep: true, Recompute: func(int) bool { return true }})
	require.InDelta(t, 0.68e6, keep, 0.03e6, "bytes a token that training keeps")
	require.InDelta(t, 0.13e6, lean, 0.02e6, "bytes a token when every layer is computed again")
}

// Keys that a file leaves out mean what the architecture's transformers class says.
func TestConfigDefaults(t *testing.T) {
	parse := func(changes map[string]any) *Config {
		c, err := ParseConfig(edited(t, changes))
		require.NoError(t, err)
		return c
	}
	arch := func(class string, changes map[string]any) map[string]any {
		m := map[string]any{"architectures": []string{class}, "model_type": nil}
		maps.Copy(m, changes)
		return m
	}
	null := json.RawMessage("null")

	require.Equal(t, 9, parse(map[string]any{"num_key_value_heads": nil}).KVHeads)
	require.Equal(t, 9, parse(map[string]any{"num_key_value_heads": null}).KVHeads)
	require.Equal(t, 32, parse(map[string]any{"head_dim": 32}).HeadDim)
	require.Equal(t, 128, parse(arch("Qwen3ForCausalLM", nil)).HeadDim)
	require.Equal(t, 64, parse(arch("Qwen2ForCausalLM", nil)).HeadDim)
	require.Equal(t, 32768, parse(arch("Qwen2ForCausalLM", map[string]any{"max_position_embeddings": nil})).MaxPos)
	require.Equal(t, float32(1e-6), parse(map[string]any{"rms_norm_eps": nil}).Eps)
	require.Equal(t, 10000.0, parse(map[string]any{"rope_theta": nil}).RopeTheta)
	require.False(t, parse(map[string]any{"tie_word_embeddings": nil}).Tied)
	require.Equal(t, "llama", parse(map[string]any{"architectures": nil}).Arch)

	q := parse(arch("Qwen2ForCausalLM", map[string]any{"attention_bias": true, "sliding_window": 4096,
		"use_sliding_window": false}))
	require.True(t, q.QKVBias && !q.OBias && !q.MLPBias && !q.QKNorm)
	q = parse(arch("Qwen3ForCausalLM", map[string]any{"attention_bias": true, "mlp_bias": true}))
	require.True(t, q.QKVBias && q.OBias && !q.MLPBias && q.QKNorm)
	l := parse(map[string]any{"attention_bias": true, "mlp_bias": true})
	require.True(t, l.QKVBias && l.OBias && l.MLPBias)
	require.Equal(t, "mistral", parse(arch("MistralForCausalLM", map[string]any{"sliding_window": null})).Arch)

	scaling := map[string]any{"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
		"original_max_position_embeddings": 8192}
	want := &RopeScaling{8, 1, 4, 8192}
	for _, key := range []string{"rope_type", "type"} {
		old := maps.Clone(scaling)
		old[key] = "llama3"
		require.Equal(t, want, parse(map[string]any{"rope_scaling": old}).RopeScaling)
		old["rope_theta"] = 5e5
		c := parse(map[string]any{"rope_parameters": old})
		require.Equal(t, want, c.RopeScaling)
		require.Equal(t, 5e5, c.RopeTheta)
	}
	require.Equal(t, []int32{5, 7}, parse(map[string]any{"eos_token_id": []int{5, 7, 5, -1, 1 << 40}}).EOS)
}

// What transformers 5.23 makes of two spellings of one setting, and of defaults that depend on another key.
func TestConfigSpellings(t *testing.T) {
	parse := func(changes map[string]any) *Config {
		c, err := ParseConfig(edited(t, changes))
		require.NoError(t, err)
		return c
	}
	type object = map[string]any
	llama3 := func(extra object) object {
		m := object{"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
		maps.Copy(m, extra)
		return m
	}
	c := parse(object{"rope_theta": 5.0, "rope_parameters": llama3(object{"rope_theta": 6.0}),
		"rope_scaling": object{"rope_type": "default"}})
	require.Nil(t, c.RopeScaling)
	require.Equal(t, 5.0, c.RopeTheta) // rope_parameters is replaced as a whole, its rope_theta too
	require.Len(t, c.Notes, 1)
	require.Contains(t, c.Notes[0], "both rope_scaling and rope_parameters")
	c = parse(object{"rope_theta": nil, "rope_parameters": object{"rope_theta": 6.0},
		"rope_scaling": object{"rope_type": "default"}})
	require.Equal(t, 10000.0, c.RopeTheta)
	c = parse(object{"rope_parameters": llama3(object{"rope_theta": 6.0}), "rope_scaling": object{}})
	require.Equal(t, 6.0, c.RopeTheta)
	require.NotNil(t, c.RopeScaling)
	require.Empty(t, c.Notes)
	c = parse(object{"rope_theta": 7.0, "rope_scaling": llama3(object{"original_max_position_embeddings": 100}),
		"original_max_position_embeddings": 200})
	require.Equal(t, 200, c.RopeScaling.OriginalMaxPos)
	require.Equal(t, 8192, parse(object{"rope_scaling": llama3(nil)}).RopeScaling.OriginalMaxPos)
	require.Nil(t, parse(object{"rope_scaling": object{"type": "llama3", "rope_type": "default"}}).RopeScaling)

	qwen := func(changes object) object {
		m := object{"model_type": "qwen2", "architectures": []string{"Qwen2ForCausalLM"}}
		maps.Copy(m, changes)
		return m
	}
	for _, unused := range []object{
		{"use_sliding_window": true, "sliding_window": 32, "max_window_layers": 30},
		{"use_sliding_window": true, "sliding_window": 32, "max_window_layers": 0,
			"layer_types": slices.Repeat([]string{"full_attention"}, 30)},
		{"use_sliding_window": true, "sliding_window": json.RawMessage("null"), "max_window_layers": 0},
		{"use_sliding_window": true, "sliding_window": 8192, "max_window_layers": 0}, // as long as the longest sequence
		{"use_sliding_window": true, "num_hidden_layers": 28},
		{"layer_types": slices.Repeat([]string{"attention"}, 30)},
	} {
		require.Equal(t, "qwen2", parse(qwen(unused)).Arch)
	}
	require.Equal(t, 9, parse(qwen(object{"num_key_value_heads": json.RawMessage("null")})).KVHeads)
	require.Equal(t, []string{"future_key: no class of transformers 5 computes with it, nor does this " +
		"program"},
		parse(object{"future_key": 1, "other_key": false}).Notes)
	require.Equal(t, []string{"attention_dropout is 0.1, but nothing is dropped here, in training neither"},
		parse(object{"attention_dropout": 0.1}).Notes)
	require.Equal(t, 64, parse(object{"Head_Dim": 32, "HIDDEN_SIZE": 9}).HeadDim) // keys are told apart by case
}

func TestConfigRefuses(t *testing.T) {
	for _, c := range []struct {
		name    string
		changes map[string]any
		says    string
	}{
		{"architecture", map[string]any{"architectures": []string{"GemmaForCausalLM"}},
			`"GemmaForCausalLM" is not supported: use a checkpoint of LlamaForCausalLM`},
		{"not a language model", map[string]any{"architectures": []string{"LlamaForSequenceClassification"}},
			"LlamaForSequenceClassification"},
		{"model_type", map[string]any{"architectures": nil, "model_type": "gpt2"}, `"gpt2"`},
		{"activation", map[string]any{"hidden_act": "gelu"}, `"gelu" (hidden_act)`},
		{"quantised", map[string]any{"quantization_config": map[string]any{"bits": 4}}, "quantization_config"},
		{"quantised in larger groups",
			map[string]any{"quantization_config": map[string]any{"quant_method": "zerosearch-q8", "bits": 8,
				"group_size": 64}}, "quantization_config"},
		{"yarn", map[string]any{"rope_scaling": map[string]any{"type": "yarn", "factor": 4}}, `rope type "yarn"`},
		{"linear", map[string]any{"rope_parameters": map[string]any{"rope_type": "linear", "factor": 4}},
			`rope type "linear"`},
		{"llama3 without factor", map[string]any{"rope_scaling": map[string]any{"type": "llama3"}}, "needs factor"},
		{"llama3 upside down",
			map[string]any{"rope_scaling": map[string]any{"type": "llama3", "factor": 8, "low_freq_factor": 4,
				"high_freq_factor": 1}}, "rising"},
		{"partial rotation", map[string]any{"partial_rotary_factor": 0.5}, "partial_rotary_factor 0.5"},
		{"window", map[string]any{"model_type": nil, "architectures": []string{"MistralForCausalLM"},
			"sliding_window": 1024}, "sliding window of 1024"},
		{"window by default", map[string]any{"model_type": nil, "architectures": []string{"MistralForCausalLM"}},
			"sliding window of 4096"},
		{"window switched on", map[string]any{"model_type": nil, "architectures": []string{"Qwen2ForCausalLM"},
			"use_sliding_window": true, "sliding_window": 32}, "sliding window of 32"},
		{"layer types", map[string]any{"layer_types": []string{"full_attention", "sliding_attention"}},
			`layer 1 has attention type "sliding_attention"`},
		{"class against model_type", map[string]any{"model_type": "mistral"},
			`architectures says LlamaForCausalLM and model_type "mistral"`},
		{"window of all layers", map[string]any{"model_type": "qwen3", "architectures": nil, "use_sliding_window": true,
			"max_window_layers": 29, "sliding_window": 32}, "sliding window of 32"},
		{"window of no tokens", map[string]any{"model_type": "mistral", "architectures": nil, "sliding_window": 0},
			"sliding_window is 0"},
		{"layer types of another model", map[string]any{"layer_types": []string{"full_attention"}},
			"layer_types has 1 entries, but there are 30 layers"},
		{"rope of a layer type",
			map[string]any{"rope_parameters": map[string]any{"full_attention": map[string]any{"rope_type": "default",
				"rope_theta": 77}}}, `rope_parameters has separate values for "full_attention"`},
		{"not causal", map[string]any{"is_causal": false}, "is_causal is false"},
		{"not causal by null", map[string]any{"is_causal": json.RawMessage("null")}, "is_causal is null"},
		{"layers of different size",
			map[string]any{"per_layer_config": map[string]any{"0": map[string]any{"intermediate_size": 5}}},
			"per_layer_config is"},
		{"another file of weights", map[string]any{"transformers_weights": "a.safetensors"}, "transformers_weights"},
		{"head_dim null", map[string]any{"model_type": "qwen3", "architectures": nil,
			"head_dim": json.RawMessage("null")}, "head_dim is null"},
		{"eps null", map[string]any{"rms_norm_eps": json.RawMessage("null")}, "rms_norm_eps is null"},
		{"activation null", map[string]any{"hidden_act": json.RawMessage("null")}, "hidden_act is null"},
		{"theta null", map[string]any{"rope_theta": json.RawMessage("null")}, "rope_theta is null"},
		{"theta null inside", map[string]any{"rope_theta": 5,
			"rope_parameters": map[string]any{"rope_theta": json.RawMessage("null")}}, "rope_theta is null"},
		{"rope as text", map[string]any{"rope_scaling": "linear"}, "a string where an object is expected"},
		{"missing size", map[string]any{"hidden_size": nil}, "hidden_size is missing"},
		{"missing kv heads", map[string]any{"model_type": nil, "architectures": []string{"Qwen2ForCausalLM"},
			"num_key_value_heads": nil}, "num_key_value_heads is missing"},
		{"negative", map[string]any{"num_hidden_layers": -1}, "num_hidden_layers is -1"},
		{"huge", map[string]any{"intermediate_size": 1 << 40}, "intermediate_size is 1099511627776"},
		{"zero heads", map[string]any{"num_attention_heads": 0}, "num_attention_heads is 0"},
		{"zero kv heads", map[string]any{"num_key_value_heads": 0}, "num_key_value_heads is 0"},
		{"heads", map[string]any{"num_key_value_heads": 4}, "9 is not a multiple of num_key_value_heads 4"},
		{"odd head", map[string]any{"head_dim": 5}, "head_dim 5 is odd"},
		{"hidden over heads", map[string]any{"hidden_size": 577}, "577 is not a multiple"},
		{"fraction", map[string]any{"hidden_size": 1.5}, "not a usable config.json"},
		{"eps", map[string]any{"rms_norm_eps": 0}, "rms_norm_eps 0"},
		{"theta", map[string]any{"rope_theta": -1}, "rope_theta -1"},
		{"eos text", map[string]any{"eos_token_id": "two"}, "eos_token_id: a string where a whole number is expected"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := ParseConfig(edited(t, c.changes))
			require.ErrorContains(t, err, c.says)
			require.NotContains(t, err.Error(), "Go ")
		})
	}
	for _, text := range []string{"", "null", "[]", `{"a":1} {}`, "{", `{"hidden_size": 1e400}`} {
		_, err := ParseConfig([]byte(text))
		require.Error(t, err, text)
	}
}

func TestReadConfig(t *testing.T) {
	dir := t.TempDir()
	_, err := ReadConfig(dir)
	require.ErrorContains(t, err, "there is no config.json")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "config.json"), []byte(smol), 0o666))
	c, err := ReadConfig(dir)
	require.NoError(t, err)
	require.Equal(t, []int32{2}, c.EOS)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "generation_config.json"), []byte(`{"eos_token_id": [2, 0]}`),
		0o666))
	c, err = ReadConfig(dir)
	require.NoError(t, err)
	require.Equal(t, []int32{2, 0}, c.EOS)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "generation_config.json"), []byte(`{`), 0o666))
	_, err = ReadConfig(dir)
	require.ErrorContains(t, err, "generation_config.json")
	require.NoError(t, os.Remove(filepath.Join(dir, "config.json")))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "config.json"), 0o777))
	_, err = ReadConfig(dir)
	require.ErrorContains(t, err, "not a configuration file")
}

// A Config made in Go is written so that it reads back the same.
func TestConfigJSON(t *testing.T) {
	for _, name := range modelCases {
		t.Run(name, func(t *testing.T) {
			c, err := ReadConfig(caseDir(t, name))
			require.NoError(t, err)
			c.Raw, c.DType = nil, "float32"
			back, err := ParseConfig(c.JSON())
			require.NoError(t, err)
			back.Raw = nil
			require.Equal(t, c, back)
		})
	}
}

// caseDir is the checkpoint of a golden case.
func caseDir(t testing.TB, name string) string {
	return goldens.Local(t, "testdata", "models/"+name, "config.json")
}

func TestSetKey(t *testing.T) {
	for in, want := range map[string]string{
		`{"a": {"dtype": "x"}, "torch_dtype" : "float32", "b":1}`: `{"a": {"dtype": "x"}, "torch_dtype" : "bfloat16", "b":1}`,
		`{ "dtype":null,"torch_dtype":["odd"] }`:                  `{ "dtype":"bfloat16","torch_dtype":"bfloat16" }`,
		`{"a":1}`:                                                 "{\n  \"torch_dtype\": \"bfloat16\",\"a\":1}",
	} {
		got, err := setKey([]byte(in), `"bfloat16"`, "torch_dtype", "dtype")
		require.NoError(t, err)
		require.Equal(t, want, string(got))
	}
}

func TestCheckIDs(t *testing.T) {
	c := &Config{Vocab: 10}
	require.NoError(t, c.CheckIDs([]int32{0, 9}))
	require.ErrorContains(t, c.CheckIDs([]int32{1, 10}), "token id 10 at place 1")
	require.ErrorContains(t, c.CheckIDs([]int32{-1}), "token id -1")
	require.NoError(t, c.CheckVocab(10))
	require.ErrorContains(t, c.CheckVocab(11), "11 ids but the model embeds 10")
}

// FuzzConfig: whatever is read is refused, or is a model that can be counted and written back.
func FuzzConfig(f *testing.F) {
	f.Add([]byte(smol))
	for _, name := range []string{"bf16", "odd", "sharded", "llama"} {
		text, err := os.ReadFile(filepath.Join("testdata", "models", name, "config.json"))
		require.NoError(f, err)
		f.Add(text)
	}
	f.Add(
		[]byte(
			`{"model_type":"llama","rope_scaling":{"type":"llama3","factor":8,"low_freq_factor":1,"high_freq_factor":4}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := ParseConfig(text)
		if err != nil {
			return
		}
		require.NoError(t, c.Check())
		for _, x := range invFreq(c) {
			require.True(t, finite(float64(x)))
		}
		require.Positive(t, c.Parameters())
		out, err := setKey(text, `"bfloat16"`, "torch_dtype", "dtype")
		require.NoError(t, err)
		again, err := ParseConfig(out)
		require.NoError(t, err)
		again.Raw, again.DType, c.Raw, c.DType = nil, "", nil, ""
		require.Equal(t, c, again)
	})
}
