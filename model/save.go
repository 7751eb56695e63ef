package model

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/zerosearch-go/zerosearch/internal/disk"
	"github.com/zerosearch-go/zerosearch/internal/gguf"
	"github.com/zerosearch-go/zerosearch/internal/jsonscan"
	"github.com/zerosearch-go/zerosearch/internal/pyjson"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/safetensors"
)

// SaveOptions say how Save writes.
type SaveOptions struct {
	DType         kernels.DType // F32 or BF16 (the default)
	MaxShardBytes int64         // a file's data at most; 0: one file
	// folder whose tokenizer and generation files are copied too; "": the folder it was loaded from
	Tokenizer string
	Merge     *Adapter // merged into the weights that are written; the model itself stays as it is
}

// companions are the files that make a folder of weights a usable model for other programs.
var companions = []string{"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
	"vocab.json",
	"merges.txt", "tokenizer.model", "chat_template.jinja", "chat_template.json", "generation_config.json"}

// templates is a folder of companions: chat templates by name.
const templates = "additional_chat_templates"

// Save writes the model as a Hugging Face folder that transformers and llama.cpp load. A trainable model's masters are
// what is written. config.json is the one that was read, with its dtype set right.
func (m *Model) Save(dir string, o SaveOptions) error {
	target := safetensors.BF16
	if q := m.Config.Quantised; q != 0 {
		return fmt.Errorf("saving the model: its weights are %v: copy the folder %s, or save what they were made from",
			q, m.Dir)
	}
	switch o.DType {
	case 0, kernels.BF16:
	case kernels.F32:
		target = safetensors.F32
	default:
		return fmt.Errorf("saving a model as %v is not supported: use bf16 or f32", o.DType)
	}
	if err := makeDir(dir); err != nil {
		return err
	}
	var specs []safetensors.Spec
	for _, p := range m.params {
		specs = append(specs, safetensors.Spec{Name: p.Name, DType: target, Shape: p.Shape})
	}
	r := reader{m: m}
	defer r.free()
	err := safetensors.WriteSharded(dir, "model", o.MaxShardBytes, specs, map[string]string{"format": "pt"},
		func(name string, w io.Writer) error {
			return r.param(m.byName[name], o.Merge, func(_ *Param, _ int, rows []float32) error {
				return safetensors.EncodeFloat32(w, target, rows)
			})
		})
	if err != nil {
		return fmt.Errorf("saving the model: %w", err)
	}
	text, err := setKey(m.Config.JSON(), map[safetensors.DType]string{safetensors.F32: `"float32"`,
		safetensors.BF16: `"bfloat16"`}[target], "torch_dtype", "dtype")
	if err != nil {
		return fmt.Errorf("saving the model's config.json: %w", err)
	}
	if err := disk.WriteFile(filepath.Join(dir, "config.json"), text); err != nil {
		return err
	}
	if o.Tokenizer == "" {
		o.Tokenizer = m.Dir
	}
	return copyCompanions(dir, o.Tokenizer)
}

// copyCompanions copies the files of companions, and of templates, that from has.
func copyCompanions(dir, from string) error {
	if from == "" || gguf.Is(from) { // a GGUF file has no such files
		return nil
	}
	names := slices.Clone(companions)
	if st, err := os.Stat(filepath.Join(from, templates)); err == nil && st.IsDir() {
		entries, err := os.ReadDir(filepath.Join(from, templates))
		if err == nil {
			err = makeDir(filepath.Join(dir, templates))
		}
		if err != nil {
			return fmt.Errorf("saving the model: copying %s: %w", templates, err)
		}
		for _, e := range entries {
			if filepath.Ext(e.Name()) == ".jinja" {
				names = append(names, filepath.Join(templates, e.Name()))
			}
		}
	}
	for _, name := range names {
		data, err := os.ReadFile(filepath.Join(from, name))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("saving the model: copying %s: %w", name, err)
		}
		if err := disk.WriteFile(filepath.Join(dir, name), data); err != nil {
			return err
		}
	}
	return nil
}

// JSON is the config.json of c: the text that was read, or one made from its fields.
func (c *Config) JSON() []byte {
	if c.Raw != nil {
		return c.Raw
	}
	a := archOf(c.Arch)
	fields := map[string]any{
		"architectures": []string{a.class}, "model_type": a.name, "vocab_size": c.Vocab, "hidden_size": c.Hidden,
		"intermediate_size": c.Inter, "num_hidden_layers": c.Layers, "num_attention_heads": c.Heads,
		"num_key_value_heads": c.KVHeads, "head_dim": c.HeadDim, "max_position_embeddings": c.MaxPos,
		"rms_norm_eps": json.Number(strconv.FormatFloat(float64(c.Eps), 'g', -1, 32)), "rope_theta": c.RopeTheta,
		"tie_word_embeddings": c.Tied, "hidden_act": "silu", "torch_dtype": "float32", "initializer_range": initStd,
		"use_cache":    true,
		"rope_scaling": nil, "bos_token_id": ids(c.BOS), "eos_token_id": ids(c.EOS),
	}
	if a.attentionBias {
		fields["attention_bias"] = c.OBias
	}
	if a.mlpBias {
		fields["mlp_bias"] = c.MLPBias
	}
	if a.window > 0 || a.windowIf {
		fields["sliding_window"] = nil
	}
	if s := c.RopeScaling; s != nil {
		fields["rope_scaling"] = map[string]any{"rope_type": "llama3", "factor": s.Factor, "low_freq_factor": s.LowFreq,
			"high_freq_factor": s.HighFreq, "original_max_position_embeddings": s.OriginalMaxPos}
	}
	if c.Quantised != 0 {
		fields["quantization_config"] = quantizationOf(c.Quantised)
	}
	text, err := json.MarshalIndent(fields, "", "  ")
	if err != nil {
		panic(err) // every number was checked to be finite
	}
	return append(text, '\n')
}

// ids is a list of token ids as config.json spells it: null, one, or many.
func ids(list []int32) any {
	switch len(list) {
	case 0:
		return nil
	case 1:
		return list[0]
	}
	return list
}

// setKey changes the value of keys at the top of a config.json to value, which is JSON, or adds the first, and leaves
// the rest as it is.
func setKey(text []byte, value string, keys ...string) ([]byte, error) {
	plain := slices.Clone(text)
	// numbers that encoding/json cannot read stay in the text, and places stay what they are
	for _, n := range pyjson.Find(text) {
		copy(plain[n.Start:n.End], "0                "[:n.End-n.Start])
	}
	members, err := jsonscan.Members(plain)
	if err != nil {
		return nil, err
	}
	var out []byte
	done, found := 0, false
	for _, m := range members {
		if slices.Contains(keys, m.Key) {
			out = append(append(out, text[done:m.Start]...), value...)
			done, found = m.End, true
		}
	}
	if !found {
		start := bytes.IndexByte(text, '{') + 1
		out = append(append(out, text[:start]...), fmt.Sprintf("\n  %q: %s,", keys[0], value)...)
		done = start
	}
	return append(out, text[done:]...), nil
}

func makeDir(dir string) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return fmt.Errorf("making the folder to save in: %w", err)
	}
	return nil
}
