package model

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/zerosearch-go/zerosearch/internal/disk"
	"github.com/zerosearch-go/zerosearch/internal/gguf"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/num"
	"github.com/zerosearch-go/zerosearch/safetensors"
)

// A q8 folder is a model folder whose matrices are quantised, in safetensors (docs/q8-format.md): of a matrix [N, K]
// called x,
//
//	x        I8  [N, K]            the elements, each in [-127, 127]
//	x_scale  F16 [N, ceil(K/32)]   what the elements of a group of 32 along K are multiplied with
//
// and in config.json the key quantization_config with quantMethod. Vectors and everything else are as they were.
const (
	scaleSuffix = "_scale"
	quantMethod = "zerosearch-q8"
)

// quantization is the value of quantization_config.
type quantization struct {
	Method string `json:"quant_method"`
	Bits   int    `json:"bits"`
	Group  int    `json:"group_size"`
}

var q8Quantization = quantization{quantMethod, 8, num.Q8Group}

// isQ8 reports whether a quantization_config is that of a q8 folder.
func isQ8(raw json.RawMessage) bool {
	var q quantization
	return json.Unmarshal(raw, &q) == nil && q == q8Quantization
}

// q8Specs are the two tensors of a quantised matrix.
func q8Specs(name string, shape []int) []safetensors.Spec {
	groups := (shape[1] + num.Q8Group - 1) / num.Q8Group
	return []safetensors.Spec{{Name: name, DType: safetensors.I8, Shape: shape},
		{Name: name + scaleSuffix, DType: safetensors.F16, Shape: []int{shape[0], groups}}}
}

// loadQ8 streams a quantised matrix into p, as it is.
func (b *bank) loadQ8(p *Param, elements, scales *safetensors.Tensor) error {
	n, k := p.size()
	step, tail := min(n, chunkRows(k)), kernels.Q8RowBytes(k)-k
	rows := make([]byte, step*(k+tail))
	words := make([]uint64, (step*tail+7)/8)
	return elements.View(func(q []byte) error {
		return scales.View(func(s []byte) error {
			for r := 0; r < n; r += step {
				count := min(step, n-r)
				part := bytesOf(words)[:count*tail]
				copy(part, s[r*tail:])
				if bad := notFinite(words[:(len(part)+7)/8], part, kernels.F16); bad >= 0 {
					return fmt.Errorf(
						"tensor %s has a value that is NaN or infinite at row %d: the checkpoint is damaged",
						scales.Name, r+bad*2/tail)
				}
				for i := range count {
					row := rows[i*(k+tail):][:k+tail]
					copy(row, q[(r+i)*k:][:k])
					copy(row[k:], part[i*tail:])
				}
				b.dev.PackHost(p.W, r, rows[:count*(k+tail)], kernels.Q8)
			}
			return nil
		})
	})
}

// QuantizeOptions are those of Quantize.
type QuantizeOptions struct {
	MaxShardBytes int64 // a file's data at most; 0: one file
	// if not nil: the tensor that comes next, and how much of the work is behind
	Progress func(name string, share float64)
}

// Quantize makes the q8 folder out of the model folder dir: what Load gives as Q8 of the one is bit for bit what it
// gives of the other. Tensors are streamed, a piece in memory at a time. After an error, the end of ctx among them, out
// holds no model.
func Quantize(ctx context.Context, dir, out string, o QuantizeOptions) error {
	if err := quantize(ctx, dir, out, o); err != nil {
		return fmt.Errorf("quantising %s: %w", dir, err)
	}
	return nil
}

func quantize(ctx context.Context, dir, out string, o QuantizeOptions) error {
	if gguf.Is(dir) {
		return errors.New("it is a GGUF file: give it as --model with --dtype q8, or quantise the model it was made from")
	}
	if c, err := ReadConfig(dir); err != nil {
		return err
	} else if c.Q8 {
		return errors.New("its weights are q8 already")
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
	q := quantizer{ctx: ctx, set: set, progress: o.Progress}
	var specs []safetensors.Spec
	c.eachShape(func(name string, shape []int) {
		t, _ := set.Tensor(name)
		q.total += int64(len(t.Bytes()))
		if len(shape) == 2 {
			specs = append(specs, q8Specs(name, shape)...)
			return
		}
		specs = append(specs, safetensors.Spec{Name: name, DType: t.DType, Shape: shape})
	})
	if err := safetensors.WriteSharded(out, "model", o.MaxShardBytes, specs, map[string]string{"format": quantMethod},
		q.write); err != nil {
		return err
	}
	if err := copyCompanions(out, dir); err != nil {
		return err
	}
	value, _ := json.Marshal(q8Quantization) // of a string and two numbers
	text, err := setKey(c.JSON(), string(value), "quantization_config")
	if err != nil {
		return fmt.Errorf("writing config.json: %w", err)
	}
	return disk.WriteFile(filepath.Join(out, "config.json"), text) // last: with it the folder is a model
}

// quantizer writes the tensors of a q8 folder from those of set.
type quantizer struct {
	ctx         context.Context
	set         *source
	progress    func(name string, share float64)
	done, total int64 // bytes of the source
	stage       []uint64
	row         []float32
	q           []int8
	scales      []byte
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
		return q.rows(t, func(row []float32) error {
			for g := 0; g < len(row); g += num.Q8Group {
				end := min(g+num.Q8Group, len(row))
				num.QuantizeQ8(q.q[g:end], row[g:end])
			}
			_, err := w.Write(bytesOf(q.q))
			return err
		})
	}
	t, _ := q.set.Tensor(strings.TrimSuffix(name, scaleSuffix))
	return q.rows(t, func(row []float32) error {
		q.scales = q.scales[:0]
		for g := 0; g < len(row); g += num.Q8Group {
			q.scales = binary.LittleEndian.AppendUint16(q.scales, num.ScaleQ8(row[g:min(g+num.Q8Group, len(row))]))
		}
		_, err := w.Write(q.scales)
		return err
	})
}

// rows visits the rows of a matrix as float32, valid during the call only.
func (q *quantizer) rows(t *safetensors.Tensor, visit func(row []float32) error) error {
	k := t.Shape[1]
	q.row, q.q = make([]float32, k), make([]int8, k)
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
