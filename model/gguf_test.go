package model

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/internal/gguf"
	"github.com/zerosearch-go/zerosearch/internal/gguf/gguftest"
	"github.com/zerosearch-go/zerosearch/internal/goldens"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/ref"
)

// Blocks of random bytes of every type give gguf-py's numbers to the last bit.
func TestDequantize(t *testing.T) {
	f, err := gguf.Open("testdata/gguf/dequant.gguf")
	require.NoError(t, err)
	defer f.Close()
	tested := 0
	for kind, to := range dequantizers {
		x, ok := f.Tensor(kind.String())
		require.True(t, ok, "testdata has no %s", kind)
		want, ok := f.Tensor(kind.String() + ".want")
		require.True(t, ok)
		require.Equal(t, want.Shape, x.Shape)
		raw, wantRaw := make([]byte, x.Bytes()), make([]byte, want.Bytes())
		require.NoError(t, x.ReadRows(raw, 0))
		require.NoError(t, want.ReadRows(wantRaw, 0))
		got, expected := make([]float32, x.Elements()), make([]float32, x.Elements())
		to(got, raw)
		dequantizers[gguf.F32](expected, wantRaw)
		for i := range got {
			require.Equal(t, math.Float32bits(expected[i]), math.Float32bits(got[i]), "%s[%d]: %v, not %v", kind, i,
				got[i],
				expected[i])
		}
		tested++
	}
	require.Equal(t, 11, tested)
}

// Files that llama.cpp's converter made of folders hold the same model: the same configuration and the same bits.
func TestGGUFOfFolder(t *testing.T) {
	dev := ref.New()
	for _, name := range []string{"small-llama3-rope", "small-qwen2", "small-qwen3"} {
		for _, dtype := range []kernels.DType{kernels.F32, kernels.BF16, kernels.Q8} {
			want, err := Load(dev, filepath.Join("testdata/models", name), Options{DType: dtype})
			require.NoError(t, err)
			got, err := Load(dev, filepath.Join("testdata/gguf", name+".gguf"), Options{DType: dtype})
			require.NoError(t, err)
			a, b := *want.Config, *got.Config
			a.Raw, b.Raw, a.DType, b.DType, a.Notes, b.Notes = nil, nil, "", "", nil, nil
			a.BOS, a.EOS = nil, nil // of the tokenizer, which these have not
			require.Equal(t, a, b)
			for _, p := range want.params {
				x, err := want.Read(p.Name, nil)
				require.NoError(t, err)
				y, err := got.Read(p.Name, nil)
				require.NoError(t, err)
				require.True(t, slices.Equal(x, y), "%s: %s of %s has other values", name, p.Name, dtype)
			}
			want.Close()
			got.Close()
		}
	}
}

// What is not supported or damaged is one error.
func TestGGUFRefused(t *testing.T) {
	dir := t.TempDir()
	base := func() []gguftest.KV {
		return []gguftest.KV{{Key: "general.architecture", Value: "llama"},
			{Key: "llama.embedding_length", Value: uint32(64)},
			{Key: "llama.feed_forward_length", Value: uint32(64)}, {Key: "llama.block_count", Value: uint32(1)},
			{Key: "llama.attention.head_count", Value: uint32(2)}, {Key: "llama.context_length", Value: uint32(128)}}
	}
	tensors := func() (out []gguftest.Tensor) {
		for _, x := range []struct {
			name  string
			shape []int
		}{{"token_embd.weight", []int{40, 64}}, {"output_norm.weight", []int{64}},
			{"blk.0.attn_norm.weight", []int{64}},
			{"blk.0.ffn_norm.weight", []int{64}}, {"blk.0.attn_q.weight", []int{64, 64}},
			{"blk.0.attn_k.weight", []int{64, 64}}, {"blk.0.attn_v.weight", []int{64, 64}},
			{"blk.0.attn_output.weight", []int{64, 64}}, {"blk.0.ffn_gate.weight", []int{64, 64}},
			{"blk.0.ffn_up.weight", []int{64, 64}}, {"blk.0.ffn_down.weight", []int{64, 64}}} {
			n := 4
			for _, d := range x.shape {
				n *= d
			}
			out = append(out, gguftest.Tensor{Name: x.name, Type: gguf.F32, Shape: x.shape, Data: make([]byte, n)})
		}
		return out
	}
	set := func(key string, v any) []gguftest.KV {
		kept := slices.DeleteFunc(base(), func(kv gguftest.KV) bool { return kv.Key == key })
		if v == nil {
			return kept
		}
		return append(kept, gguftest.KV{Key: key, Value: v})
	}
	nan := tensors()
	copy(nan[4].Data[256*3+4:], []byte{0, 0, 0xc0, 0x7f})
	for name, c := range map[string]struct {
		meta    []gguftest.KV
		tensors []gguftest.Tensor
		says    string
	}{
		"architecture": {set("general.architecture", "mamba"), tensors(),
			`architecture "mamba" (general.architecture) is not`},
		"no size": {set("llama.embedding_length", nil), tensors(), "llama.embedding_length is missing"},
		"size of text": {set("llama.block_count", "two"), tensors(),
			`llama.block_count is "two", not one whole number`},
		"size below 0":  {set("llama.block_count", int32(-1)), tensors(), "llama.block_count is -1"},
		"layers":        {set("llama.block_count", uint32(1<<30)), tensors(), "not between 1 and"},
		"layers differ": {set("llama.attention.head_count", []int32{2, 4}), tensors(), "not one whole number"},
		"heads":         {set("llama.attention.head_count_kv", uint32(3)), tensors(), "not a multiple of"},
		"no heads":      {set("llama.attention.head_count", uint32(0)), tensors(), "num_attention_heads is 0"},
		"eps": {set("llama.attention.layer_norm_rms_epsilon", float32(math.Inf(1))), tensors(),
			"rms_norm_eps"},
		"theta":        {set("llama.rope.freq_base", "x"), tensors(), `llama.rope.freq_base is "x", not a number`},
		"part rotated": {set("llama.rope.dimension_count", uint32(16)), tensors(), "of which 16 are rotated"},
		"experts":      {set("llama.expert_count", uint32(8)), tensors(), "a mixture of 8 experts"},
		"yarn":         {set("llama.rope.scaling.type", "yarn"), tensors(), `rope scaling "yarn"`},
		"linear":       {set("llama.rope.scale_linear", float32(4)), tensors(), "rope scaling by a factor of 4"},
		"window": {set("llama.attention.sliding_window", uint32(64)), tensors(),
			"a sliding window of 64 tokens"},
		"vocabulary": {base(), tensors()[1:], "no matrix token_embd.weight"},
		"missing":    {base(), tensors()[:9], "missing from the file: blk.0.ffn_up.weight, blk.0.ffn_down.weight"},
		"extra": {base(), append(tensors(), gguftest.Tensor{Name: "blk.0.ssm.weight", Type: gguf.F32, Shape: []int{1},
			Data: make([]byte, 4)}), "has no use for: blk.0.ssm.weight"},
		"shape": {set("llama.feed_forward_length", uint32(96)), tensors(),
			"tensor blk.0.ffn_gate.weight has shape [64 64], its metadata calls for [96 64]"},
		"type": {base(),
			append(tensors()[:10], gguftest.Tensor{Name: "blk.0.ffn_down.weight", Type: 20, Shape: []int{64, 64},
				Data: make([]byte, 64*64/32*18)}), "blk.0.ffn_down.weight has type IQ4_NL, which is not supported"},
		"frequencies": {base(), append(tensors(), gguftest.Tensor{Name: ropeFreqs, Type: gguf.F32, Shape: []int{16},
			Data: bytes.Repeat([]byte{0, 0, 0x20, 0x41}, 16)}), "another way than Llama 3.1's"},
		"frequencies' shape": {base(),
			append(tensors(), gguftest.Tensor{Name: ropeFreqs, Type: gguf.F32, Shape: []int{8},
				Data: make([]byte, 32)}), "a vector of 16 is called for"},
		"not a number": {base(), nan, "blk.0.attn_q.weight has a value that is NaN or infinite at row 3, column 1"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(dir, "x.gguf")
			require.NoError(t, os.WriteFile(path, gguftest.File(c.meta, c.tensors), 0o644))
			_, err := Load(ref.New(), path, Options{DType: kernels.F32})
			require.ErrorContains(t, err, c.says)
			require.ErrorContains(t, err, path)
		})
	}
	path := filepath.Join(dir, "good.gguf")
	require.NoError(t, os.WriteFile(path, gguftest.File(base(), tensors()), 0o644))
	m, err := Load(ref.New(), path, Options{})
	require.NoError(t, err)
	m.Close()
	require.ErrorContains(t, Quantize(t.Context(), path, t.TempDir(), QuantizeOptions{}),
		"give it as --model with --dtype q8")
}

// A trained Llama gives the logits and the ids of an independent forward pass over the weights of another format.
func TestGGUFStories(t *testing.T) {
	var want struct {
		IDs    []int32   `json:"token_ids_numpy_float64"`
		Logits []float64 `json:"logits_step0_numpy_float64"`
	}
	text, err := os.ReadFile(goldens.Data(t, "goldens/stories260K/stories260K_greedy.json"))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &want))
	dev := devices["cpu"](t)
	m := load(t, dev, goldens.Data(t, "models/stories260K/stories260K.gguf"), Options{DType: kernels.F32})
	r := newRig(t, m, 256, WorkspaceOptions{})
	logits := r.logits(r.forward([][]int32{want.IDs[:1]}, nil))
	require.Len(t, logits, len(want.Logits))
	for i, x := range want.Logits {
		require.InDelta(t, x, logits[i], 2e-5)
	}
	require.Equal(t, want.IDs[1:101], r.greedy(want.IDs[:1], 100))
}
