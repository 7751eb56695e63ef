package model

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
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

	RopeTheta   *float64  `json:"rope_theta"`
	RopeScaling *ropeFile `json:"rope_scaling"`
	RopeParams  *ropeFile `json:"rope_parameters"` // transformers 5: theta and scaling in one

	Window    *int     `json:"sliding_window"`
	UseWindow *bool    `json:"use_sliding_window"`
	Types     []string `json:"layer_types"`

	BOS     json.RawMessage `json:"bos_token_id"`
	EOS     json.RawMessage `json:"eos_token_id"`
	DType   *string         `json:"torch_dtype"`
	DTypeV5 *string         `json:"dtype"`
	Quant   json.RawMessage `json:"quantization_config"`
	Compr   json.RawMessage `json:"compression_config"`
}

type ropeFile struct {
	Type     *string  `json:"rope_type"`
	OldType  *string  `json:"type"`
	Theta    *float64 `json:"rope_theta"`
	Factor   *float64 `json:"factor"`
	LowFreq  *float64 `json:"low_freq_factor"`
	HighFreq *float64 `json:"high_freq_factor"`
	Original *float64 `json:"original_max_position_embeddings"`
	Partial  *float64 `json:"partial_rotary_factor"`
}

// ParseConfig reads a config.json. Missing sizes are errors; other missing keys get the default of the architecture's class.
func ParseConfig(data []byte) (*Config, error) {
	var f configFile
	if err := decodeJSON(data, &f); err != nil {
		return nil, fmt.Errorf("not a usable config.json: %w", err)
	}
	a, err := f.arch()
	if err != nil {
		return nil, err
	}
	if err := f.refuse(a, data); err != nil {
		return nil, err
	}
	c := &Config{Arch: a.name, Raw: slices.Clone(data)}
	if err := f.sizes(c, a); err != nil {
		return nil, err
	}
	bias := a.attentionBias && is(f.AttentionBias)
	c.QKVBias, c.OBias, c.MLPBias, c.QKNorm = a.qkvBias || bias, bias, a.mlpBias && is(f.MLPBias), a.qkNorm
	c.Tied, c.Q8 = is(f.Tied), set(f.Quant)
	c.Eps = float32(or(f.Eps, 1e-6))
	c.DType = or(f.DTypeV5, or(f.DType, ""))
	if err := f.rope(c); err != nil {
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
	return c, nil
}

// arch finds the row of the class that the file names, or of its model_type where it names no class.
func (f *configFile) arch() (*arch, error) {
	for i := range archs {
		if slices.Contains(f.Architectures, archs[i].class) {
			return &archs[i], nil
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
func (f *configFile) refuse(a *arch, data []byte) error {
	if act := or(f.Act, "silu"); act != "silu" && act != "swish" {
		return fmt.Errorf("activation %q (hidden_act) is not supported: only silu is", act)
	}
	if set(f.Compr) || set(f.Quant) && !isQ8(f.Quant) {
		return errors.New("quantised weights (quantization_config) of this kind are not supported: use the f32, f16 or bf16 checkpoint it was made from")
	}
	if p := or(f.Partial, 1); p != 1 {
		return fmt.Errorf("partial_rotary_factor %v is not supported: only whole heads are rotated", p)
	}
	window := or(f.Window, 0)
	if f.Window == nil && a.window > 0 && !hasKey(data, "sliding_window") {
		window = a.window
	}
	if window != 0 && (!a.windowIf || is(f.UseWindow)) {
		return fmt.Errorf("a sliding window of %d tokens is set (sliding_window), which is not supported: for contexts shorter than it, "+
			"set \"sliding_window\": null and \"max_position_embeddings\": %d in config.json", window, window)
	}
	for i, t := range f.Types {
		if t != "full_attention" {
			return fmt.Errorf("layer %d has attention type %q (layer_types): only full_attention is supported", i, t)
		}
	}
	return nil
}

func (f *configFile) sizes(c *Config, a *arch) error {
	for _, s := range []struct {
		key string
		src *int
		dst *int
	}{
		{"vocab_size", f.Vocab, &c.Vocab}, {"hidden_size", f.Hidden, &c.Hidden}, {"intermediate_size", f.Inter, &c.Inter},
		{"num_hidden_layers", f.Layers, &c.Layers}, {"num_attention_heads", f.Heads, &c.Heads},
	} {
		if s.src == nil {
			return fmt.Errorf("%s is missing", s.key)
		}
		*s.dst = *s.src
	}
	if f.KVHeads == nil && !a.kvHeads {
		return errors.New("num_key_value_heads is missing")
	}
	c.KVHeads = or(f.KVHeads, c.Heads)
	c.MaxPos = or(f.MaxPos, a.maxPos)
	c.HeadDim = or(f.HeadDim, a.headDim)
	if c.HeadDim == 0 && c.Heads > 0 {
		if c.Hidden%c.Heads != 0 {
			return fmt.Errorf("hidden_size %d is not a multiple of num_attention_heads %d and there is no head_dim", c.Hidden, c.Heads)
		}
		c.HeadDim = c.Hidden / c.Heads
	}
	return nil
}

// rope reads both spellings; where a file has both, rope_parameters wins, as in transformers 5.
func (f *configFile) rope(c *Config) error {
	p, old := f.RopeParams, f.RopeScaling
	if p == nil {
		p = &ropeFile{}
	}
	if old == nil {
		old = &ropeFile{}
	}
	c.RopeTheta = or(p.Theta, or(f.RopeTheta, or(old.Theta, 10000)))
	if part := or(p.Partial, or(old.Partial, 1)); part != 1 {
		return fmt.Errorf("partial_rotary_factor %v is not supported: only whole heads are rotated", part)
	}
	src := p
	if p.Type == nil && p.OldType == nil {
		src = old
	}
	switch kind := or(src.Type, or(src.OldType, "default")); kind {
	case "default":
		return nil
	case "llama3":
		if src.Factor == nil || src.LowFreq == nil || src.HighFreq == nil {
			return errors.New("rope scaling llama3 needs factor, low_freq_factor and high_freq_factor")
		}
		orig := or(src.Original, float64(c.MaxPos))
		if orig != float64(int32(orig)) {
			return fmt.Errorf("rope scaling llama3: original_max_position_embeddings is %v", orig)
		}
		c.RopeScaling = &RopeScaling{*src.Factor, *src.LowFreq, *src.HighFreq, int(orig)}
		return nil
	default:
		return fmt.Errorf("rope type %q is not supported (default and llama3 are): for contexts within the original length, "+
			"remove rope_scaling from config.json", kind)
	}
}

// addGeneration takes the end-of-sequence ids of a generation_config.json, which chat models keep complete.
func (c *Config) addGeneration(data []byte) error {
	var f struct {
		EOS json.RawMessage `json:"eos_token_id"`
	}
	if err := decodeJSON(data, &f); err != nil {
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
	if err := json.Unmarshal(raw, &ids); err != nil {
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

// decodeJSON decodes one JSON value that fills data.
func decodeJSON(data []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("something follows the JSON object")
	}
	return nil
}

// hasKey reports whether the object data has key at its top level, even as null.
func hasKey(data []byte, key string) bool {
	var keys map[string]json.RawMessage
	_ = json.Unmarshal(data, &keys)
	_, ok := keys[key]
	return ok
}

func set(raw json.RawMessage) bool { return len(raw) > 0 && string(raw) != "null" }

func is(p *bool) bool { return p != nil && *p }

func or[E any](p *E, absent E) E {
	if p == nil {
		return absent
	}
	return *p
}
