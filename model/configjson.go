package model

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/zerosearch-go/zerosearch/internal/pyjson"
)

// configFile is the part of config.json that matters here. Pointers tell absent (or null) from zero.
type configFile struct {
	Architectures []string `json:"architectures"`
	ModelType     string   `json:"model_type"`
	Vocab         *int     `json:"vocab_size"`
	Hidden        *int     `json:"hidden_size"`
	Inter         *int     `json:"intermediate_size"`
	Layers        *int     `json:"num_hidden_layers"`
	Heads         *int     `json:"num_attention_heads"`
	KVHeads       *int     `json:"num_key_value_heads"`
	HeadDim       *int     `json:"head_dim"`
	MaxPos        *int     `json:"max_position_embeddings"`
	Eps           *float64 `json:"rms_norm_eps"`
	Act           *string  `json:"hidden_act"`
	Tied          *bool    `json:"tie_word_embeddings"`
	AttentionBias *bool    `json:"attention_bias"`
	MLPBias       *bool    `json:"mlp_bias"`
	Partial       *float64 `json:"partial_rotary_factor"`

	RopeTheta    *float64 `json:"rope_theta"`
	RopeOriginal *float64 `json:"original_max_position_embeddings"`

	Window       *int     `json:"sliding_window"`
	UseWindow    *bool    `json:"use_sliding_window"`
	WindowLayers *int     `json:"max_window_layers"`
	Types        []string `json:"layer_types"`

	BOS     json.RawMessage `json:"bos_token_id"`
	EOS     json.RawMessage `json:"eos_token_id"`
	DType   *string         `json:"torch_dtype"`
	DTypeV5 *string         `json:"dtype"`
	Quant   json.RawMessage `json:"quantization_config"`

	*checkedFile
}

// ropeFile is the value of rope_scaling or, since transformers 5, of rope_parameters.
type ropeFile struct {
	Type     *string  `json:"rope_type"`
	OldType  *string  `json:"type"`
	Theta    *float64 `json:"rope_theta"`
	Factor   *float64 `json:"factor"`
	LowFreq  *float64 `json:"low_freq_factor"`
	HighFreq *float64 `json:"high_freq_factor"`
	Original *float64 `json:"original_max_position_embeddings"`
	Partial  *float64 `json:"partial_rotary_factor"`

	*checkedFile
}

// ParseConfig reads a config.json. Missing sizes are errors; other missing keys get the default of the architecture's
// class.
func ParseConfig(data []byte) (*Config, error) {
	j, err := checkFile("config.json", data)
	if err != nil {
		return nil, err
	}
	f := configFile{checkedFile: j}
	if err := j.decode("config.json", &f); err != nil {
		return nil, err
	}
	a, err := f.arch()
	if err != nil {
		return nil, err
	}
	if err := f.refuse(); err != nil {
		return nil, err
	}
	c := &Config{Arch: a.name, Raw: slices.Clone(data)}
	if err := f.sizes(c, a); err != nil {
		return nil, err
	}
	bias := a.attentionBias && is(f.AttentionBias)
	c.QKVBias, c.OBias, c.MLPBias, c.QKNorm = a.qkvBias || bias, bias, a.mlpBias && is(f.MLPBias), a.qkNorm
	c.Tied, c.Quantised = is(f.Tied), quantisedAs(f.Quant)
	c.Eps = float32(or(f.Eps, 1e-6))
	c.DType = or(f.DTypeV5, or(f.DType, ""))
	if err := f.rope(c); err != nil {
		return nil, err
	}
	if err := f.windows(c, a); err != nil {
		return nil, err
	}
	if c.BOS, err = tokenIDs(f.BOS, c.Vocab); err != nil {
		return nil, fmt.Errorf("bos_token_id: %w", err)
	}
	if c.EOS, err = tokenIDs(f.EOS, c.Vocab); err != nil {
		return nil, fmt.Errorf("eos_token_id: %w", err)
	}
	if err := c.Check(); err != nil {
		return nil, err
	}
	if v := f.values["attention_dropout"]; v != "" && !slices.Contains(unset, v) {
		c.note("attention_dropout is %s, but nothing is dropped here, in training neither", v)
	}
	if len(f.unknown) > 0 {
		c.note("%s: no class of transformers 5 computes with it, nor does this program",
			strings.Join(f.unknown, ", "))
	}
	return c, nil
}

// note adds what the user should know about how the file was read.
func (c *Config) note(format string, args ...any) {
	c.Notes = append(c.Notes, fmt.Sprintf(format, args...))
}

// arch finds the architecture by the class that the file names, or by model_type if it names no class. The two must
// agree: transformers reads model_type, other programs the class.
func (f *configFile) arch() (*arch, error) {
	for i := range archs {
		a := &archs[i]
		switch {
		case !slices.Contains(f.Architectures, a.class):
		case f.ModelType != "" && f.ModelType != a.name:
			return nil,
				fmt.Errorf("architectures says %s and model_type %q: transformers reads model_type and would build "+
					"another model: correct the one that is wrong", a.class, f.ModelType)
		default:
			return a, nil
		}
	}
	if len(f.Architectures) == 0 {
		if a := archOf(f.ModelType); a != nil {
			return a, nil
		}
	}
	name := strings.Join(f.Architectures, ", ")
	if name == "" {
		name = f.ModelType
	}
	return nil, fmt.Errorf("architecture %q is not supported: use a checkpoint of %s", name, archNames())
}

// refuse names what the block cannot compute.
func (f *configFile) refuse() error {
	for _, key := range []string{"hidden_act", "rms_norm_eps", "max_position_embeddings"} {
		if f.null(key) {
			return fmt.Errorf(
				"%s is null, which stands for no value in transformers either: set it, or leave it out for the "+
					"default", key)
		}
	}
	if act := or(f.Act, "silu"); act != "silu" && act != "swish" {
		return fmt.Errorf("activation %q (hidden_act) is not supported: only silu is", act)
	}
	if f.set("quantization_config") && quantisedAs(f.Quant) == 0 {
		return errors.New("quantised weights (quantization_config) of this kind are not supported: use the f32, f16 " +
			"or bf16 checkpoint it was made from")
	}
	return nil
}

// windows refuses a sliding window that would cut: one that a layer uses and that is shorter than the longest sequence.
func (f *configFile) windows(c *Config, a *arch) error {
	window := or(f.Window, 0)
	on := f.Window != nil || a.window > 0 && !f.has("sliding_window")
	if f.Window == nil && on {
		window = a.window
	}
	if a.windowIf {
		on = on && is(f.UseWindow)
	}
	slides := on
	if a.windowIf && !f.set("layer_types") {
		slides = on && or(f.WindowLayers, defaultWindowLayers) < c.Layers
	} else if a.windowIf {
		slides = on && slices.Contains(f.Types, "sliding_attention")
	}
	for i, t := range f.Types {
		if t != "full_attention" && t != "attention" && !(slides && a.windowIf && t == "sliding_attention") {
			return fmt.Errorf("layer %d has attention type %q (layer_types): only full_attention is supported", i, t)
		}
	}
	switch {
	case f.set("layer_types") && len(f.Types) != c.Layers:
		return fmt.Errorf("layer_types has %d entries, but there are %d layers (num_hidden_layers)", len(f.Types),
			c.Layers)
	case !slides || window >= c.MaxPos:
		return nil
	case window < 1:
		return fmt.Errorf("sliding_window is %d, which is no window: set it to null if there is none", window)
	}
	off := `"sliding_window": null`
	if a.windowIf {
		off = `"use_sliding_window": false, "layer_types": null`
	}
	return fmt.Errorf("a sliding window of %d tokens is set (sliding_window), which is not supported: for contexts "+
		"shorter than it, set %s and \"max_position_embeddings\": %d in config.json", window, off, window)
}

// defaultWindowLayers is what an absent max_window_layers means in Qwen2 and Qwen3: the layers from this one on have
// the window.
const defaultWindowLayers = 28

func (f *configFile) sizes(c *Config, a *arch) error {
	for _, s := range []struct {
		key string
		src *int
		dst *int
	}{
		{"vocab_size", f.Vocab, &c.Vocab}, {"hidden_size", f.Hidden, &c.Hidden},
		{"intermediate_size", f.Inter, &c.Inter},
		{"num_hidden_layers", f.Layers, &c.Layers}, {"num_attention_heads", f.Heads, &c.Heads},
	} {
		if s.src == nil {
			return fmt.Errorf("%s is missing", s.key)
		}
		*s.dst = *s.src
	}
	if !f.has("num_key_value_heads") && !a.kvHeads {
		return errors.New("num_key_value_heads is missing")
	}
	if f.has("head_dim") && f.HeadDim == nil && a.headDim != 0 {
		return fmt.Errorf("head_dim is null: set it to the number that the weights have, or leave it out for %d",
			a.headDim)
	}
	c.KVHeads = or(f.KVHeads, c.Heads)
	c.MaxPos = or(f.MaxPos, a.maxPos)
	c.HeadDim = or(f.HeadDim, a.headDim)
	if c.HeadDim == 0 && c.Heads > 0 {
		if c.Hidden%c.Heads != 0 {
			return fmt.Errorf("hidden_size %d is not a multiple of num_attention_heads %d and there is no head_dim",
				c.Hidden, c.Heads)
		}
		c.HeadDim = c.Hidden / c.Heads
	}
	return nil
}

// rope reads both spellings. Where a file has both, rope_scaling replaces rope_parameters as a whole, as in
// transformers 5.
func (f *configFile) rope(c *Config) error {
	name := "rope_parameters"
	if f.set("rope_scaling") && f.values["rope_scaling"] != "{}" {
		name = "rope_scaling"
		if f.set("rope_parameters") && f.values["rope_parameters"] != "{}" {
			c.note("it has both rope_scaling and rope_parameters: rope_scaling is what counts, as in transformers 5")
		}
	}
	p, err := f.ropeIn(name)
	if err != nil {
		return err
	}
	if p.null("rope_theta") || !p.has("rope_theta") && f.null("rope_theta") {
		return errors.New(
			"rope_theta is null, which stands for no value in transformers either: set it, or leave it out " +
				"for the default")
	}
	if part := or(p.Partial, or(f.Partial, 1)); part != 1 {
		return fmt.Errorf("partial_rotary_factor %v is not supported: only whole heads are rotated", part)
	}
	c.RopeTheta = or(p.Theta, or(f.RopeTheta, 10000))
	switch kind := or(p.Type, or(p.OldType, "default")); kind {
	case "default":
		return nil
	case "llama3":
		if p.Factor == nil || p.LowFreq == nil || p.HighFreq == nil {
			return errors.New("rope scaling llama3 needs factor, low_freq_factor and high_freq_factor")
		}
		orig := or(f.RopeOriginal, or(p.Original, float64(c.MaxPos)))
		if orig != float64(int32(orig)) {
			return fmt.Errorf("rope scaling llama3: original_max_position_embeddings is %v", orig)
		}
		c.RopeScaling = &RopeScaling{*p.Factor, *p.LowFreq, *p.HighFreq, int(orig)}
		return nil
	default:
		return fmt.Errorf(
			"rope type %q is not supported (default and llama3 are): for contexts within the original length, "+
				"remove %s from config.json", kind, name)
	}
}

// ropeIn reads the object called name, an empty one if there is none.
func (f *configFile) ropeIn(name string) (*ropeFile, error) {
	if !f.set(name) {
		return &ropeFile{checkedFile: &checkedFile{}}, nil
	}
	j, err := checkFile("rope_parameters", []byte(f.values[name]))
	if err != nil {
		return nil, err
	}
	p := &ropeFile{checkedFile: j}
	for key, value := range j.values {
		if value[0] == '{' {
			return nil, fmt.Errorf("%s has separate values for %q: only one set of values for all layers is supported",
				name,
				key)
		}
	}
	for _, key := range j.unknown {
		f.unknown = append(f.unknown, name+"."+key)
	}
	return p, j.decode("rope_parameters", p)
}

// addGeneration reads the end-of-sequence ids from generation_config.json, where chat models list all of them.
func (c *Config) addGeneration(data []byte) error {
	var f struct {
		EOS json.RawMessage `json:"eos_token_id"`
	}
	if err := pyjson.Unmarshal(data, &f); err != nil {
		return err
	}
	ids, err := tokenIDs(f.EOS, c.Vocab)
	if err != nil {
		return fmt.Errorf("eos_token_id: %w", err)
	}
	if len(ids) > 0 {
		c.EOS = ids
	}
	return nil
}

// tokenIDs reads an id, a list of ids or null. Ids outside the vocabulary, which some files carry (-1), are left out.
func tokenIDs(raw json.RawMessage, vocab int) ([]int32, error) {
	if !set(raw) {
		return nil, nil
	}
	var ids []int
	if raw[0] != '[' {
		raw = append(append([]byte{'['}, raw...), ']')
	}
	if err := pyjson.Unmarshal(raw, &ids); err != nil {
		return nil, err
	}
	var out []int32
	for _, id := range ids {
		if id >= 0 && id < vocab && !slices.Contains(out, int32(id)) {
			out = append(out, int32(id))
		}
	}
	return out, nil
}

func set(raw json.RawMessage) bool { return len(raw) > 0 && string(raw) != "null" }

func is(p *bool) bool { return p != nil && *p }

func or[E any](p *E, absent E) E {
	if p == nil {
		return absent
	}
	return *p
}
