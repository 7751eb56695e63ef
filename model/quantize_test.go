package model

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/num"
	"github.com/zerosearch-go/zerosearch/safetensors"
)

// A quantised folder is, bit for bit, what quantising on load gives: in one file or many, from every source type, on
// every device.
func TestQuantize(t *testing.T) {
	smallChunks(t)
	for _, name := range modelCases {
		t.Run(name, func(t *testing.T) {
			for _, dtype := range []kernels.DType{kernels.Q8, kernels.Q4} {
				testQuantize(t, caseDir(t, name), dtype)
			}
		})
	}
}

func testQuantize(t *testing.T, dir string, dtype kernels.DType) {
	t.Helper()
	out := filepath.Join(t.TempDir(), "q")
	require.NoError(t, Quantize(t.Context(), dir, out, QuantizeOptions{DType: dtype, MaxShardBytes: 30 << 10}))
	eachDevice(t, func(t *testing.T, dev kernels.Device) {
		want, got := load(t, dev, dir, Options{DType: dtype}), load(t, dev, out, Options{})
		require.Equal(t, dtype, got.DType)
		require.Equal(t, values(t, want), values(t, got))
		seqs := [][]int32{{1, 5, 9, 2, 30, 7}, {3, 3, 8}}
		a, b := newRig(t, want, 64, WorkspaceOptions{}), newRig(t, got, 64, WorkspaceOptions{})
		require.Equal(t, a.logits(a.forward(seqs, nil)), b.logits(b.forward(seqs, nil)))
	})
}

// The folder is what docs/q8-format.md says, for readers that know nothing of this program.
func TestQuantizedFiles(t *testing.T) {
	dir, out := t.TempDir(), t.TempDir()
	require.NoError(t, os.CopyFS(dir, os.DirFS(caseDir(t, "llama"))))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "tokenizer.json"), []byte("{}"), 0o666))
	var shares []float64
	require.NoError(t,
		Quantize(t.Context(), dir, out,
			QuantizeOptions{Progress: func(_ string, share float64) { shares = append(shares, share) }}))
	require.IsNonDecreasing(t, shares)
	require.Zero(t, shares[0])
	require.FileExists(t, filepath.Join(out, "tokenizer.json"))

	var was, is map[string]any
	for path, to := range map[string]*map[string]any{filepath.Join(dir, "config.json"): &was,
		filepath.Join(out, "config.json"): &is} {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(text, to))
	}
	require.Equal(t, map[string]any{"quant_method": "zerosearch-q8", "bits": 8.0, "group_size": 32.0},
		is["quantization_config"])
	delete(is, "quantization_config")
	require.Equal(t, was, is, "nothing else changes")

	src, err := safetensors.OpenDir(dir)
	require.NoError(t, err)
	defer src.Close()
	set, err := safetensors.OpenDir(out)
	require.NoError(t, err)
	defer set.Close()
	for _, name := range src.Names() {
		x, _ := src.Tensor(name)
		y, ok := set.Tensor(name)
		require.True(t, ok, name)
		require.Equal(t, x.Shape, y.Shape)
		if len(x.Shape) == 1 {
			require.Equal(t, x.DType, y.DType)
			require.Equal(t, x.Bytes(), y.Bytes())
			continue
		}
		s, ok := set.Tensor(name + "_scale")
		require.True(t, ok, name)
		n, k := x.Shape[0], x.Shape[1]
		require.Equal(t, []int{n, (k + 31) / 32}, s.Shape)
		want, q, scale := make([]float32, n*k), make([]int32, n*k), make([]float32, s.Elements())
		require.NoError(t, x.Float32(want))
		require.NoError(t, y.Int32(q))
		require.NoError(t, s.Float32(scale))
		for i := range want {
			d := scale[i/k*s.Shape[1]+i%k/32]
			// the scale is rounded too: 127.5 of it at most
			require.InDelta(t, want[i], float32(q[i])*d, float64(d)*0.5*1.02, "%s[%d]", name, i)
		}
	}
}

// The same for Q4, by the formula of the page: heads and halves of bytes.
func TestQuantizedFiles4(t *testing.T) {
	dir, out := caseDir(t, "llama"), filepath.Join(t.TempDir(), "q4")
	require.NoError(t, Quantize(t.Context(), dir, out, QuantizeOptions{DType: kernels.Q4}))
	text, err := os.ReadFile(filepath.Join(out, "config.json"))
	require.NoError(t, err)
	require.Contains(t, string(text), `"quant_method":"zerosearch-q4","bits":4,"group_size":32`)
	src, err := safetensors.OpenDir(dir)
	require.NoError(t, err)
	defer src.Close()
	set, err := safetensors.OpenDir(out)
	require.NoError(t, err)
	defer set.Close()
	four := 0
	for _, name := range src.Names() {
		x, _ := src.Tensor(name)
		if len(x.Shape) == 1 {
			continue
		}
		y, _ := set.Tensor(name)
		s, _ := set.Tensor(name + "_scale")
		if strings.Contains(name, "embed") || strings.Contains(name, "lm_head") || strings.Contains(name, "v_proj") ||
			name == "model.layers.1.mlp.down_proj.weight" { // of two layers the last is in the last eighth
			require.Equal(t, safetensors.I8, y.DType, name)
			continue
		}
		four++
		n, k := x.Shape[0], x.Shape[1]
		groups := (k + 31) / 32
		require.Equal(t, safetensors.U8, y.DType)
		require.Equal(t, safetensors.U16, s.DType)
		require.Equal(t, []int{n, 16 * groups}, y.Shape)
		require.Equal(t, []int{n, groups}, s.Shape)
		want := make([]float32, n*k)
		require.NoError(t, x.Float32(want))
		for i := range want {
			row, g, j := i/k, i%k/32, i%k%32
			head := binary.LittleEndian.Uint16(s.Bytes()[2*(row*groups+g):])
			b := y.Bytes()[16*(row*groups+g)+j%16]
			q := float32(b & 15)
			if j >= 16 {
				q = float32(b >> 4)
			}
			step := num.F32FromF16(head >> 7 << 6)
			// the largest step that is tried may be 1/16 short of the range
			require.InDelta(t, want[i], (q-float32(head&127)/8)*step, 2*float64(step), "%s[%d]", name, i)
		}
	}
	require.Greater(t, four, 5)
}

// What needs the weights as they were says so, and a folder that is not right is named.
func TestQ8Refused(t *testing.T) {
	dir, out := caseDir(t, "llama"), filepath.Join(t.TempDir(), "q8")
	require.NoError(t, Quantize(t.Context(), dir, out, QuantizeOptions{}))
	dev := devices["cpu"](t)
	m := load(t, dev, out, Options{})
	for _, o := range []Options{{DType: kernels.BF16}, {DType: kernels.F32}, {DType: kernels.BF16, Trainable: true}} {
		_, err := Load(dev, out, o)
		require.ErrorContains(t, err, "its weights are q8 and cannot be held as")
	}
	_, err := Load(dev, out, Options{Trainable: true})
	require.ErrorContains(t, err, "q8 weights cannot be trained")
	_, err = m.Clone(Options{DType: kernels.BF16})
	require.ErrorContains(t, err, "cannot be held as bf16")
	require.ErrorContains(t, m.Save(t.TempDir(), SaveOptions{}), "its weights are q8: copy the folder "+out)
	require.ErrorContains(t, Quantize(t.Context(), out, t.TempDir(), QuantizeOptions{}), "its weights are q8 already")
	require.ErrorContains(t, Quantize(t.Context(), dir, out, QuantizeOptions{}),
		"holds a model already: choose another folder")
	require.ErrorContains(t, Quantize(t.Context(), dir, dir, QuantizeOptions{}),
		"holds a model already: choose another folder")
	require.ErrorContains(t, Quantize(t.Context(), t.TempDir(), t.TempDir(), QuantizeOptions{}),
		"there is no config.json")

	// An end of ctx leaves no model, and nothing half written.
	ctx, cancel := context.WithCancel(t.Context())
	half := t.TempDir()
	err = Quantize(ctx, dir, half, QuantizeOptions{Progress: func(_ string, share float64) {
		if share > 0.3 {
			cancel()
		}
	}})
	require.ErrorIs(t, err, context.Canceled)
	left, err := os.ReadDir(half)
	require.NoError(t, err)
	require.Empty(t, left)

	const name, scale = "model.layers.1.mlp.up_proj.weight", "model.layers.1.mlp.up_proj.weight_scale"
	for _, c := range []struct {
		what   string
		change func(specs []safetensors.Spec, data map[string][]byte) []safetensors.Spec
		want   string
	}{
		{"a scale is missing", func(s []safetensors.Spec, _ map[string][]byte) []safetensors.Spec {
			return without(s, scale)
		}, "missing from the checkpoint: " + scale},
		{"float elements", func(s []safetensors.Spec, d map[string][]byte) []safetensors.Spec {
			i := find(s, name)
			s[i].DType, d[name] = safetensors.BF16, append(d[name], d[name]...)
			return s
		}, "tensor " + name + " has type BF16: only I8 in a q8 folder can be loaded"},
		{"scales of other groups", func(s []safetensors.Spec, d map[string][]byte) []safetensors.Spec {
			i := find(s, scale)
			s[i].Shape, d[scale] = []int{s[i].Shape[0], 2 * s[i].Shape[1]}, append(d[scale], d[scale]...)
			return s
		}, "tensor " + scale + " has shape"},
		{"a scale is infinite", func(s []safetensors.Spec, d map[string][]byte) []safetensors.Spec {
			d[scale][7] = 0x7c
			d[scale][6] = 0
			return s
		}, "tensor " + scale + " has a value that is NaN or infinite at row"},
	} {
		t.Run(c.what, func(t *testing.T) {
			bad := t.TempDir()
			require.NoError(t, os.CopyFS(bad, os.DirFS(out)))
			rewrite(t, bad, c.change)
			_, err := Load(dev, bad, Options{})
			require.ErrorContains(t, err, c.want)
			require.NotContains(t, err.Error(), "\n")
		})
	}
}

func find(s []safetensors.Spec, name string) int {
	for i := range s {
		if s[i].Name == name {
			return i
		}
	}
	panic(name)
}

func without(s []safetensors.Spec, name string) []safetensors.Spec {
	i := find(s, name)
	return append(s[:i], s[i+1:]...)
}

// rewrite changes the tensors of dir.
func rewrite(t *testing.T, dir string, change func([]safetensors.Spec, map[string][]byte) []safetensors.Spec) {
	set, err := safetensors.OpenDir(dir)
	require.NoError(t, err)
	var specs []safetensors.Spec
	data := map[string][]byte{}
	for _, n := range set.Names() {
		x, _ := set.Tensor(n)
		specs = append(specs, safetensors.Spec{Name: n, DType: x.DType, Shape: x.Shape})
		data[n] = append([]byte(nil), x.Bytes()...)
	}
	require.NoError(t, set.Close())
	specs = change(specs, data)
	w, err := safetensors.Create(filepath.Join(dir, safetensors.SingleFile), specs, nil)
	require.NoError(t, err)
	for _, s := range specs {
		require.NoError(t, w.Write(s.Name, data[s.Name]))
	}
	require.NoError(t, w.Close())
}
