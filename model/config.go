package model

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"

	"github.com/zerosearch-go/zerosearch/internal/gguf"

	"github.com/zerosearch-go/zerosearch/kernels"
)

// Config is the shape of a model: the values of config.json, with the defaults of its architecture filled in.
type Config struct {
	Arch                    string // model_type: "llama", "mistral", "qwen2", "qwen3"
	Vocab                   int    // V
	Hidden, Inter           int    // C, F
	Layers                  int    // L
	Heads, KVHeads, HeadDim int    // H, G, D
	MaxPos                  int    // longest sequence the checkpoint was made for, tokens
	Eps                     float32
	RopeTheta               float64
	RopeScaling             *RopeScaling // nil: plain RoPE
	Tied                    bool         // the output matrix is the embedding

	QKVBias, OBias, MLPBias bool // biases of query, key, value; of attention's output; of gate, up, down
	QKNorm                  bool // RMSNorm per head on queries and keys

	BOS, EOS []int32 // may be empty; EOS as generation_config.json has it where there is one
	DType    string  // torch_dtype as the file spells it, "" if it does not say

	// Quantised is the type that the checkpoint's matrices are held as, Q8 or Q4, in a folder of Quantize's; else 0.
	Quantised kernels.DType

	// Notes are what the user should know about how config.json was read.
	Notes []string

	// Raw is config.json as it was read, nil for a Config made in Go. Model.Save writes it back with the dtype changed.
	Raw []byte
}

// RopeScaling is the frequency scaling of Llama 3.1: wavelengths above OriginalMaxPos/LowFreq are stretched by Factor,
// those below OriginalMaxPos/HighFreq stay, those between are interpolated.
type RopeScaling struct {
	Factor, LowFreq, HighFreq float64
	OriginalMaxPos            int
}

// Limits beyond which a config.json is taken for damaged or hostile: some ten times the largest model of these
// families.
const (
	maxVocab, maxHidden, maxInter = 1 << 22, 1 << 17, 1 << 20
	maxLayers, maxHeads           = 1 << 11, 1 << 11
	maxHeadDim, maxPositions      = 1 << 11, 1 << 28
	maxConfigBytes                = 16 << 20
)

// ReadConfig reads dir/config.json, or the metadata of the GGUF file dir, and the end-of-sequence ids of
// dir/generation_config.json if there is one. What this program cannot compute faithfully is refused by name.
func ReadConfig(dir string) (*Config, error) {
	if gguf.Is(dir) {
		return readGGUFConfig(dir)
	}
	path := filepath.Join(dir, "config.json")
	data, err := readSmall(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("reading the model in %s: there is no config.json: give a Hugging Face model folder",
			dir)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the model's configuration: %w", err)
	}
	c, err := ParseConfig(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	for i, note := range c.Notes {
		c.Notes[i] = path + ": " + note
	}
	path = filepath.Join(dir, "generation_config.json")
	if data, err = readSmall(path); errors.Is(err, os.ErrNotExist) {
		return c, nil
	} else if err != nil {
		return nil, fmt.Errorf("reading the model's generation settings: %w", err)
	}
	if err := c.addGeneration(data); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// readSmall reads a configuration file, refusing one that cannot be a configuration.
func readSmall(path string) ([]byte, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() || st.Size() > maxConfigBytes {
		return nil, fmt.Errorf("%s is not a configuration file (%v, %d bytes)", path, st.Mode().Type(), st.Size())
	}
	return os.ReadFile(path)
}

// Check reports sizes that are invalid or too large for any machine. ParseConfig calls it.
func (c *Config) Check() error {
	if archOf(c.Arch) == nil {
		return fmt.Errorf("architecture %q is not supported: use a checkpoint of %s", c.Arch, archNames())
	}
	for _, s := range []struct {
		key       string
		value, to int
	}{
		{"vocab_size", c.Vocab, maxVocab}, {"hidden_size", c.Hidden, maxHidden},
		{"intermediate_size", c.Inter, maxInter},
		{"num_hidden_layers", c.Layers, maxLayers}, {"num_attention_heads", c.Heads, maxHeads},
		{"num_key_value_heads", c.KVHeads, maxHeads}, {"head_dim", c.HeadDim, maxHeadDim},
		{"max_position_embeddings", c.MaxPos, maxPositions},
	} {
		if s.value < 1 || s.value > s.to {
			return fmt.Errorf("%s is %d, which is not between 1 and %d: the file is damaged or not for this program",
				s.key, s.value, s.to)
		}
	}
	if c.Heads%c.KVHeads != 0 {
		return fmt.Errorf("num_attention_heads %d is not a multiple of num_key_value_heads %d", c.Heads, c.KVHeads)
	}
	if c.HeadDim%2 != 0 {
		return fmt.Errorf("head_dim %d is odd: rotary embeddings need pairs", c.HeadDim)
	}
	if !(c.Eps > 0 && c.Eps < 1) {
		return fmt.Errorf("rms_norm_eps %v is not between 0 and 1", c.Eps)
	}
	if !(c.RopeTheta >= 1 && c.RopeTheta < 1e15) {
		return fmt.Errorf("rope_theta %v is not between 1 and 1e15", c.RopeTheta)
	}
	if s := c.RopeScaling; s != nil {
		if err := s.check(); err != nil {
			return err
		}
	}
	return c.checkArch()
}

// checkArch reports a Config made in Go whose flags its architecture does not have, so that its config.json could not
// describe it.
func (c *Config) checkArch() error {
	a := archOf(c.Arch)
	if c.QKNorm != a.qkNorm || c.QKVBias != (a.qkvBias || c.OBias) || c.OBias && !a.attentionBias || c.MLPBias &&
		!a.mlpBias {
		return fmt.Errorf(
			"biases (query, key, value %v; output %v; mlp %v) or qk norm %v do not go with architecture %q",
			c.QKVBias, c.OBias, c.MLPBias, c.QKNorm, c.Arch)
	}
	return nil
}

func (s *RopeScaling) check() error {
	in := func(x, lo, hi float64) bool { return x >= lo && x <= hi && !math.IsNaN(x) }
	switch {
	case !in(s.Factor, 1, 1e6):
		return fmt.Errorf("rope scaling llama3: factor %v is not between 1 and 1e6", s.Factor)
	case !in(s.LowFreq, 1e-3, 1e6) || !in(s.HighFreq, 1e-3, 1e6) || s.HighFreq <= s.LowFreq:
		return fmt.Errorf("rope scaling llama3: low_freq_factor %v and high_freq_factor %v must be positive and rising",
			s.LowFreq, s.HighFreq)
	case s.OriginalMaxPos < 1 || s.OriginalMaxPos > maxPositions:
		return fmt.Errorf("rope scaling llama3: original_max_position_embeddings is %d", s.OriginalMaxPos)
	}
	return nil
}

// CheckIDs reports the first id that is outside the vocabulary.
func (c *Config) CheckIDs(ids []int32) error {
	for i, id := range ids {
		if id < 0 || int(id) >= c.Vocab {
			return fmt.Errorf("token id %d at place %d is outside the model's vocabulary of %d: tokenizer and model "+
				"do not belong together", id, i, c.Vocab)
		}
	}
	return nil
}

// CheckVocab reports a tokenizer that knows n ids when the embedding has fewer rows. More rows than ids are usual
// (padding).
func (c *Config) CheckVocab(n int) error {
	if n > c.Vocab {
		return fmt.Errorf(
			"the tokenizer has %d ids but the model embeds %d: tokenizer and model do not belong together", n, c.Vocab)
	}
	return nil
}
