package model

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/zerosearch-go/zerosearch/internal/gguf"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/safetensors"
)

// Load reads the Hugging Face model folder dir onto dev: config.json and one or many safetensors of F32, BF16 or F16,
// or what Quantize made of them. dir may also be a GGUF file. Tensors are streamed into the device's layout, so that
// the complete checkpoint is never in memory.
func Load(dev kernels.Device, dir string, o Options) (*Model, error) {
	return LoadContext(context.Background(), dev, dir, o)
}

// LoadContext is Load until ctx ends: then it frees what it has and returns ctx's error.
func LoadContext(ctx context.Context, dev kernels.Device, dir string, o Options) (*Model, error) {
	if gguf.Is(dir) {
		return loadGGUF(ctx, dev, dir, o)
	}
	c, set, err := openSource(dir, o.Headless)
	if err != nil {
		return nil, err
	}
	defer set.Close()
	m, err := newModel(dev, c, o)
	if err != nil {
		return nil, fmt.Errorf("loading %s: %w", dir, err)
	}
	m.Dir = dir
	// In the order of the files, so that a disk is read sequentially.
	for _, name := range set.Names() {
		t, _ := set.Tensor(name)
		if p := m.byName[name]; p != nil {
			if scales, ok := set.Tensor(name + scaleSuffix); ok && c.Quantised != 0 {
				err = m.loadQuantised(p, t, scales)
				scales.Release()
			} else {
				err = m.load(p, t)
			}
			if err = cmp.Or(ctx.Err(), err); err != nil {
				m.Close()
				return nil, fmt.Errorf("loading %s: %w", dir, err)
			}
		}
		t.Release()
	}
	m.wide, m.stage = nil, nil
	return m, nil
}

// checkTensors compares the names, shapes and types of a checkpoint's tensors with its configuration, before memory is
// allocated.
func checkTensors(c *Config, set *source) error {
	var missing, wrong []string
	known := map[string]bool{}
	check := func(name string, shape []int, types string, is func(t *safetensors.Tensor) bool) {
		known[name] = true
		t, ok := set.Tensor(name)
		switch {
		case !ok:
			missing = append(missing, name)
		case !slices.Equal(t.Shape, shape):
			wrong = append(wrong, shapeError(name, t.Shape, shape))
		case !is(t):
			wrong = append(wrong, fmt.Sprintf("tensor %s has type %s: only %s can be loaded", name, t.DType, types))
		}
	}
	c.eachShape(func(name string, shape []int) {
		if c.Quantised != 0 && len(shape) == 2 {
			for _, s := range quantisedSpecs(name, shape, c.HeldAs(name, c.Quantised)) {
				check(s.Name, s.Shape, fmt.Sprintf("%s in a %v folder", s.DType, c.Quantised),
					func(t *safetensors.Tensor) bool { return t.DType == s.DType })
			}
			return
		}
		check(name, shape, "F32, BF16 and F16 checkpoints", func(t *safetensors.Tensor) bool { return dtypeOf(t) != 0 })
	})
	var extra []string
	for _, name := range set.Names() {
		if !known[name] && !superfluous(c, name) {
			extra = append(extra, name)
		}
	}
	slices.Sort(extra)
	switch {
	case len(wrong) > 0:
		return errors.New(some(wrong))
	case len(extra) > 0 && foreign(known, missing, extra) != nil:
		return foreign(known, missing, extra)
	case len(missing) > 0 && missing[0] == headName:
		return fmt.Errorf("tensor %s is missing though tie_word_embeddings is false: if the output matrix is the "+
			"embedding, set it to true in config.json",
			headName)
	case len(missing) > 0:
		return fmt.Errorf(
			"missing from the checkpoint: %s: the download is incomplete, or config.json is of another model",
			some(missing))
	case len(extra) > 0:
		return fmt.Errorf("the checkpoint has tensors that a %s of this config.json has no use for: %s", c.Arch,
			some(extra))
	}
	return nil
}

func shapeError(name string, got, want []int) string {
	hint := ""
	if name == embedName || name == headName {
		hint = fmt.Sprintf(": vocab_size is %d and hidden_size %d, so vocabulary and embedding disagree", want[0],
			want[1])
	}
	return fmt.Sprintf("tensor %s has shape %v, config.json calls for %v%s", name, got, want, hint)
}

// some lists a few of many.
func some(all []string) string {
	if n := len(all) - 3; n > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(all[:3], ", "), n)
	}
	return strings.Join(all, ", ")
}

// dtypeOf is the type of a tensor that can be loaded, 0 of any other.
func dtypeOf(t *safetensors.Tensor) kernels.DType {
	switch t.DType {
	case safetensors.F32:
		return kernels.F32
	case safetensors.BF16:
		return kernels.BF16
	case safetensors.F16:
		return kernels.F16
	}
	return 0
}

// load streams t into p.
func (b *bank) load(p *Param, t *safetensors.Tensor) error {
	return eachChunk(t, &b.stage, func(row0 int, rows []byte, src kernels.DType) error {
		b.store(p, row0, rows, src)
		return nil
	})
}

// eachChunk visits t in chunks of complete rows; a vector is one row. Each chunk is copied to stage first, so that a
// page of the file that cannot be read becomes an error here, and its values are checked.
func eachChunk(t *safetensors.Tensor, stage *[]uint64, visit func(row0 int, rows []byte,
	src kernels.DType) error) error {
	src := dtypeOf(t)
	k := t.Shape[len(t.Shape)-1]
	n := t.Elements() / max(k, 1)
	step := min(n, chunkRows(k))
	row := k * src.Size()
	if need := (step*row + 7) / 8; len(*stage) < need {
		*stage = make([]uint64, need)
	}
	return t.View(func(data []byte) error {
		for r := 0; r < n; r += step {
			chunk := bytesOf(*stage)[:min(step, n-r)*row]
			copy(chunk, data[r*row:])
			if bad := notFinite((*stage)[:(len(chunk)+7)/8], chunk, src); bad >= 0 {
				return fmt.Errorf(
					"tensor %s has a value that is NaN or infinite at row %d, column %d: the checkpoint is damaged",
					t.Name, r+bad/k, bad%k)
			}
			if err := visit(r, chunk, src); err != nil {
				return err
			}
		}
		return nil
	})
}

// notFinite finds the first element of chunk, which lies in words, whose exponent is all ones; -1 if there is none. It
// tests eight bytes at a time: adding one to the exponent's lowest place carries into the sign's only where every place
// is set.
func notFinite(words []uint64, chunk []byte, t kernels.DType) int {
	var exp, one, sign uint64
	switch t {
	case kernels.F32:
		exp, one, sign = 0x7f800000_7f800000, 0x00800000_00800000, 0x80000000_80000000
	case kernels.BF16:
		exp, one, sign = 0x7f807f80_7f807f80, 0x00800080_00800080, 0x80008000_80008000
	default:
		exp, one, sign = 0x7c007c00_7c007c00, 0x04000400_04000400, 0x80008000_80008000
	}
	size := t.Size()
	for i, w := range words {
		if (w&exp+one)&sign == 0 {
			continue
		}
		for e := i * 8 / size; e < min((i+1)*8, len(chunk))/size; e++ {
			at := chunk[e*size:]
			bits := uint64(at[0]) | uint64(at[1])<<8
			if size == 4 {
				bits |= uint64(at[2])<<16 | uint64(at[3])<<24
			}
			if mask := exp & (1<<(8*size) - 1); bits&mask == mask {
				return e
			}
		}
	}
	return -1
}

// finite reports whether x is a number.
func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }
