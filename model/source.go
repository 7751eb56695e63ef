package model

import (
	"bytes"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/zerosearch-go/zerosearch/internal/gguf"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/safetensors"
)

// source is the tensors of a checkpoint by the names of the parameters that they fill.
type source struct {
	*safetensors.Set
	embed string // the tensor that fills the embedding
	// bare says that names have no "model." before them: the decoder was saved without a head around it, as those of
	// embedding models are.
	bare bool
}

// decoderPrefix is what a causal language model puts before the names of its decoder.
const decoderPrefix = "model."

// openSource opens the folder dir and says what model its tensors make: what they say of tied embeddings counts, not
// config.json.
//
// headless reads a checkpoint for its hidden states alone: an output matrix of its own is not read, and need not be
// there.
func openSource(dir string, headless bool) (c *Config, s *source, err error) {
	if c, err = ReadConfig(dir); err != nil {
		return nil, nil, err
	}
	set, err := safetensors.OpenDir(dir)
	if err != nil {
		return nil, nil, err
	}
	s = newSource(set, headless)
	defer func() {
		if err != nil {
			set.Close()
		}
	}()
	if headless {
		c.Tied = true
	} else if c.Tied && c.Quantised == 0 {
		if err = s.settleTied(c, dir); err != nil {
			return nil, nil, fmt.Errorf("loading %s: %w", dir, err)
		}
	}
	if err = checkTensors(c, s); err != nil {
		return nil, nil, fmt.Errorf("loading %s: %w", dir, err)
	}
	return c, s, nil
}

// ReadStored is ReadConfig, corrected by what the tensors beside config.json say of tied embeddings, if there are
// any: what Load makes.
func ReadStored(dir string) (*Config, error) {
	c, err := ReadConfig(dir)
	if err != nil || !c.Tied || c.Quantised != 0 || gguf.Is(dir) {
		return c, err
	}
	set, err := safetensors.OpenDir(dir)
	if err != nil {
		return c, nil // a configuration alone
	}
	defer set.Close()
	if err := newSource(set, false).settleTied(c, dir); err != nil {
		return nil, fmt.Errorf("reading %s: %w", dir, err)
	}
	return c, nil
}

// settleTied compares tie_word_embeddings with what the file holds, as transformers 5 does: one matrix of the two,
// whatever its name, is both, and two that differ are not tied.
func (s *source) settleTied(c *Config, dir string) error {
	embed, hasEmbed := s.Set.Tensor(embedName)
	head, hasHead := s.Set.Tensor(headName)
	switch {
	case !hasHead:
		return nil
	case !hasEmbed:
		s.embed = headName
		return nil
	}
	same, err := sameValues(embed, head)
	if err != nil || same {
		return err
	}
	c.Tied = false
	c.note(
		"%s: it ties embedding and output matrix (tie_word_embeddings), but %s and %s are both in the checkpoint and "+
			"differ: they are not tied, as in transformers 5", filepath.Join(dir, "config.json"), embedName, headName)
	if c.Raw, err = setKey(c.Raw, "false", "tie_word_embeddings"); err != nil {
		return fmt.Errorf("config.json: %w", err)
	}
	return nil
}

// newSource finds out how the tensors of a set are named. Only without the head is a bare decoder a whole model.
func newSource(set *safetensors.Set, headless bool) *source {
	s := &source{Set: set, embed: embedName}
	if !headless {
		return s
	}
	_, bare := set.Tensor(strings.TrimPrefix(embedName, decoderPrefix))
	_, whole := set.Tensor(embedName)
	s.bare = bare && !whole
	return s
}

// Tensor is the tensor that fills the parameter called name.
func (s *source) Tensor(name string) (*safetensors.Tensor, bool) {
	if name == embedName {
		name = s.embed
	}
	if s.bare {
		plain, ok := strings.CutPrefix(name, decoderPrefix)
		if !ok && name != headName {
			return nil, false
		}
		name = plain
	}
	return s.Set.Tensor(name)
}

// Names are the names of the parameters, and of what else is there, in the order of the files.
func (s *source) Names() []string {
	names := s.Set.Names()
	if s.bare {
		for i, name := range names {
			if name != headName {
				names[i] = decoderPrefix + name
			}
		}
	}
	if i := slices.Index(names, s.embed); i >= 0 {
		names[i] = embedName
	}
	return names
}

// sameValues reports whether two tensors hold the same numbers.
func sameValues(a, b *safetensors.Tensor) (same bool, err error) {
	if !slices.Equal(a.Shape, b.Shape) || len(a.Shape) != 2 || dtypeOf(a) == 0 || dtypeOf(b) == 0 {
		return false, nil
	}
	defer a.Release()
	defer b.Release()
	err = a.View(func(x []byte) error {
		return b.View(func(y []byte) error {
			same = a.DType == b.DType && bytes.Equal(x, y) || equalNumbers(x, dtypeOf(a), y, dtypeOf(b), a.Shape[1])
			return nil
		})
	})
	return same, err
}

// equalNumbers compares as float32 a row of k elements at a time: 0 equals -0, and one number in two types equals
// itself.
func equalNumbers(x []byte, tx kernels.DType, y []byte, ty kernels.DType, k int) bool {
	if k == 0 {
		return true
	}
	xs, ys := make([]float32, k), make([]float32, k)
	words := make([]uint64, (4*k+7)/8) // aligned, as the elements of a file need not be
	row := func(out []float32, data []byte, t kernels.DType, r int) {
		size := k * t.Size()
		widen(out, bytesOf(words)[:copy(bytesOf(words), data[r*size:][:size])], t)
	}
	for r := range len(x) / (k * tx.Size()) {
		row(xs, x, tx, r)
		row(ys, y, ty, r)
		if !slices.Equal(xs, ys) {
			return false
		}
	}
	return true
}
