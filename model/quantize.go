package model

import (
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/zerosearch-go/zerosearch/internal/disk"
	"github.com/zerosearch-go/zerosearch/internal/gguf"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/num"
	"github.com/zerosearch-go/zerosearch/safetensors"
)

// A quantised folder is a model folder whose matrices are quantised, in safetensors (docs/q8-format.md,
// docs/q4-format.md): of a matrix [N, K] called x, held as Q8 and as Q4,
//
//	x        I8  [N, K]               the elements, each in [-127, 127]
//	x_scale  F16 [N, ceil(K/32)]      what the elements of a group of 32 along K are multiplied with
//
//	x        U8  [N, 16*ceil(K/32)]   two elements a byte: k and k+16 of a group
//	x_scale  U16 [N, ceil(K/32)]      the heads of num.QuantizeQ4
//
// and in config.json the key quantization_config. Vectors and everything else are as they were.
const scaleSuffix = "_scale"

// quantization is the value of quantization_config.
type quantization struct {
	Method string `json:"quant_method"`
	Bits   int    `json:"bits"`
	Group  int    `json:"group_size"`
}

func quantizationOf(t kernels.DType) quantization {
	bits := 8
	if t == kernels.Q4 {
		bits = 4
	}
	return quantization{"zerosearch-" + t.String(), bits, num.Q8Group}
}

// quantisedAs is the type that a quantization_config of a quantised folder names; 0 for any other.
func quantisedAs(raw json.RawMessage) kernels.DType {
	var q quantization
	if json.Unmarshal(raw, &q) == nil {
		for _, t := range []kernels.DType{kernels.Q8, kernels.Q4} {
			if q == quantizationOf(t) {
				return t
			}
		}
	}
	return 0
}

// HeldAs is the type of the matrix called name in a model of type t: t, but in a model of type Q4 the embedding, the
// output matrix, the projections of values and half of the down projections (the first and the last eighth of the
// layers, and every third between) are held as Q8: rounding them to 4 bits costs most (docs/q4-format.md has the
// measurement).
func (c *Config) HeldAs(name string, t kernels.DType) kernels.DType {
	if t != kernels.Q4 {
		return t
	}
	var l int
	_, err := fmt.Sscanf(name, "model.layers.%d.", &l)
	eighth := c.Layers / 8
	outer := l < eighth || l >= 7*c.Layers/8 || (l-eighth)%3 == 2
	if err != nil || name == moduleName(l, projV)+".weight" || outer && name == moduleName(l, projDown)+".weight" {
		return kernels.Q8
	}
	return t
}

// HeadType is the type of the output matrix in a model of type t.
func HeadType(t kernels.DType) kernels.DType { return (&Config{}).HeldAs(headName, t) }

// quantisedSpecs are the two tensors of a matrix that is held as t.
func quantisedSpecs(name string, shape []int, t kernels.DType) []safetensors.Spec {
	groups := []int{shape[0], (shape[1] + num.Q8Group - 1) / num.Q8Group}
	if t == kernels.Q4 {
		return []safetensors.Spec{{Name: name, DType: safetensors.U8, Shape: []int{shape[0], 16 * groups[1]}},
			{Name: name + scaleSuffix, DType: safetensors.U16, Shape: groups}}
	}
	return []safetensors.Spec{{Name: name, DType: safetensors.I8, Shape: shape},
		{Name: name + scaleSuffix, DType: safetensors.F16, Shape: groups}}
}

// loadQuantised streams a quantised matrix into p, as it is.
func (b *bank) loadQuantised(p *Param, elements, scales *safetensors.Tensor) error {
	n, k := p.size()
	t, body, all := p.W.Type(), k, kernels.Q8RowBytes(k)
	if t == kernels.Q4 {
		body, all = elements.Shape[1], kernels.Q4RowBytes(k)
	}
	step, tail := min(n, chunkRows(k)), all-body
	rows := make([]byte, step*all)
	words := make([]uint64, (step*tail+7)/8)
	return elements.View(func(q []byte) error {
		return scales.View(func(s []byte) error {
			for r := 0; r < n; r += step {
				count := min(step, n-r)
				part := bytesOf(words)[:count*tail]
				copy(part, s[r*tail:])
				if bad := infiniteScale(words, part, t); bad >= 0 {
					return fmt.Errorf(
						"tensor %s has a value that is NaN or infinite at row %d: the checkpoint is damaged",
						scales.Name, r+bad*2/tail)
				}
				for i := range count {
					row := rows[i*all:][:all]
					copy(row, q[(r+i)*body:][:body])
					copy(row[body:], part[i*tail:])
				}
				b.dev.PackHost(p.W, r, rows[:count*all], t)
			}
			return nil
		})
	})
}

// infiniteScale is the first of the scales in part, the first bytes of words, that is not finite, or -1.
func infiniteScale(words []uint64, part []byte, t kernels.DType) int {
	if t == kernels.Q8 {
		return notFinite(words[:(len(part)+7)/8], part, kernels.F16)
	}
	return slices.IndexFunc(cast[uint16](part), func(head uint16) bool { return head >= num.Q4NotFinite })
}

// QuantizeOptions are those of Quantize.
type QuantizeOptions struct {
	DType         kernels.DType // Q8 or Q4; 0: Q8
	MaxShardBytes int64         // a file's data at most; 0: one file
	// if not nil: the tensor that comes next, and how much of the work is behind
	Progress func(name string, share float64)
}

// Quantize makes a quantised folder out of the model folder dir: what Load gives as o.DType of the one is bit for bit
// what it gives of the other. Tensors are streamed, a piece in memory at a time. After an error, the end of ctx among
// them, out holds no model.
func Quantize(ctx context.Context, dir, out string, o QuantizeOptions) error {
	o.DType = cmp.Or(o.DType, kernels.Q8)
	if err := quantize(ctx, dir, out, o); err != nil {
		return fmt.Errorf("quantising %s: %w", dir, err)
	}
	return nil
}

func quantize(ctx context.Context, dir, out string, o QuantizeOptions) error {
	if gguf.Is(dir) {
		return errors.New("it is a GGUF file: give it as --model with --dtype " + o.DType.String() +
			", or quantise the model it was made from")
	}
	if c, err := ReadConfig(dir); err != nil {
		return err
	} else if c.Quantised != 0 {
		return fmt.Errorf("its weights are %v already", c.Quantised)
	}
	if _, err := os.Stat(filepath.Join(out, "config.json")); err == nil {
		return fmt.Errorf("%s holds a model already: choose another folder", out)
	}
	c, set, err := openSource(dir, false)
	if err != nil {
		return err
	}
	defer set.Close()
	if err := makeDir(out); err != nil {
		return err
	}
	q := quantizer{ctx: ctx, set: set, config: c, dtype: o.DType, progress: o.Progress}
	var specs []safetensors.Spec
	c.eachShape(func(name string, shape []int) {
		t, _ := set.Tensor(name)
		q.total += int64(len(t.Bytes()))
		if len(shape) == 2 {
			specs = append(specs, quantisedSpecs(name, shape, c.HeldAs(name, o.DType))...)
			return
		}
		specs = append(specs, safetensors.Spec{Name: name, DType: t.DType, Shape: shape})
	})
	if err := safetensors.WriteSharded(out, "model", o.MaxShardBytes, specs,
		map[string]string{"format": quantizationOf(o.DType).Method}, q.write); err != nil {
		return err
	}
	if err := copyCompanions(out, dir); err != nil {
		return err
	}
	value, _ := json.Marshal(quantizationOf(o.DType)) // of a string and two numbers
	text, err := setKey(c.JSON(), string(value), "quantization_config")
	if err != nil {
		return fmt.Errorf("writing config.json: %w", err)
	}
	return disk.WriteFile(filepath.Join(out, "config.json"), text) // last: with it the folder is a model
}

// quantizer writes the tensors of a quantised folder from those of set.
type quantizer struct {
	ctx         context.Context
	set         *source
	config      *Config
	dtype       kernels.DType
	progress    func(name string, share float64)
	done, total int64 // bytes of the source
	stage       []uint64
	row         []float32
	q           []int8
}

// write writes the tensor called name: elements, scales, or a vector as it is.
func (q *quantizer) write(name string, w io.Writer) error {
	if q.progress != nil {
		q.progress(name, float64(q.done)/float64(q.total))
	}
	if t, ok := q.set.Tensor(name); ok {
		defer func() { q.done += int64(len(t.Bytes())) }()
		if len(t.Shape) == 1 {
			return t.View(func(data []byte) error {
				_, err := w.Write(append([]byte(nil), data...)) // a copy, for a page that cannot be read
				return err
			})
		}
		return q.matrix(t, q.config.HeldAs(name, q.dtype), func(elements, _ []byte) []byte { return elements }, w)
	}
	name = strings.TrimSuffix(name, scaleSuffix)
	t, _ := q.set.Tensor(name)
	return q.matrix(t, q.config.HeldAs(name, q.dtype), func(_, scales []byte) []byte { return scales }, w)
}

// matrix writes what part chooses of each quantised row of t. The order of tensors in a file is the writer's, so each
// of the two is computed for itself.
func (q *quantizer) matrix(t *safetensors.Tensor, held kernels.DType, part func(elements, scales []byte) []byte,
	w io.Writer) error {
	var scales []byte
	return q.rows(t, func(row []float32) error {
		elements := q.q[:0]
		scales = scales[:0]
		for g := 0; g < len(row); g += num.Q8Group {
			x := row[g:min(g+num.Q8Group, len(row))]
			var scale uint16
			if held == kernels.Q4 {
				var v [num.Q4Group]uint8
				scale = num.QuantizeQ4(v[:len(x)], x)
				for i := range num.Q4Group / 2 {
					elements = append(elements, int8(v[i]|v[i+num.Q4Group/2]<<4))
				}
			} else {
				elements = elements[:g+len(x)]
				scale = num.QuantizeQ8(elements[g:], x)
			}
			scales = binary.LittleEndian.AppendUint16(scales, scale)
		}
		_, err := w.Write(part(bytesOf(elements), scales))
		return err
	})
}

// rows visits the rows of a matrix as float32, valid during the call only.
func (q *quantizer) rows(t *safetensors.Tensor, visit func(row []float32) error) error {
	k := t.Shape[1]
	q.row, q.q = make([]float32, k), make([]int8, k+num.Q8Group)
	defer t.Release()
	return eachChunk(t, &q.stage, func(_ int, chunk []byte, src kernels.DType) error {
		if err := q.ctx.Err(); err != nil {
			return err
		}
		for size := k * src.Size(); len(chunk) > 0; chunk = chunk[size:] {
			widen(q.row, chunk[:size], src)
			if err := visit(q.row); err != nil {
				return err
			}
		}
		return nil
	})
}
