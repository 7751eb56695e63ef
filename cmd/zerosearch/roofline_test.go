package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// The roofline of a folder needs its config.json and nothing else; --json prints one object.
func TestRooflineOfFolder(t *testing.T) {
	dir := t.TempDir()
	config := `{"model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": 1000, "hidden_size": 64, "intermediate_size": 96,
		"num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 8192, "tie_word_embeddings": true}`
	require.NoError(t, os.WriteFile(filepath.Join(dir, "config.json"), []byte(config), 0o644))
	code, out, stderr := zs("", "bench", "roofline", "--model", dir, "--gpu", "a100", "-b", "2", "--json")
	require.Zero(t, code, stderr)
	var got struct {
		Policy struct {
			Name       string
			Parameters int
		}
		Processor struct{ Name string }
		Passes    []struct {
			Name    string
			Kernels []struct {
				Kernel string
				Bytes  float64
				Bound  string `json:"bound_by"`
			}
			Seconds float64
		}
		Step struct {
			Tokens int
			Phases []struct{ Name string }
		}
		Fits bool
	}
	require.NoError(t, json.Unmarshal([]byte(out), &got))
	require.Equal(t, filepath.Base(dir), got.Policy.Name)
	require.Equal(t, 1000*64+3*(2*64*64+2*64*32+3*64*96+2*64)+64, got.Policy.Parameters)
	require.Contains(t, got.Processor.Name, "A100")
	require.True(t, got.Fits)
	require.Equal(t, "decode", got.Passes[0].Name)
	require.Equal(t, "memory", got.Passes[0].Kernels[0].Bound)
	require.Len(t, got.Step.Phases, 7)
}
