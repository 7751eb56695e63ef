package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// shapes of the models that recipes name; a plan needs no weights.
var shapes = map[string]string{
	"Llama-3.2-3B": shape("Llama", "llama", 3072, 8192, 28, 24, 8, 128256),
	"Qwen2.5-0.5B": shape("Qwen2", "qwen2", 896, 4864, 24, 14, 2, 151936),
	"Qwen2.5-3B":   shape("Qwen2", "qwen2", 2048, 11008, 36, 16, 2, 151936),
	"Qwen2.5-7B":   shape("Qwen2", "qwen2", 3584, 18944, 28, 28, 4, 152064),
	"Qwen2.5-14B":  shape("Qwen2", "qwen2", 5120, 13824, 48, 40, 8, 152064),
	"d/models":     shape("Llama", "llama", 128, 384, 4, 4, 4, 704),
}

func shape(arch, kind string, hidden, inter, layers, heads, kv, vocab int) string {
	return fmt.Sprintf(`{"architectures":["%sForCausalLM"],"model_type":%q,"hidden_size":%d,"intermediate_size":%d,"num_hidden_layers":%d,
"num_attention_heads":%d,"num_key_value_heads":%d,"vocab_size":%d,"rms_norm_eps":1e-6,"rope_theta":1e6,"tie_word_embeddings":true,
"max_position_embeddings":32768,"eos_token_id":0,"hidden_act":"silu"}`, arch, kind, hidden, inter, layers, heads, kv, vocab)
}

// Every recipe is understood whole and planned; only the machine may be too small for it.
func TestRecipes(t *testing.T) {
	files, err := filepath.Glob("../../recipes/*.yaml")
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(files), 5)
	dir := t.TempDir()
	data := filepath.Join(dir, "q.jsonl")
	require.NoError(t, os.WriteFile(data, []byte(`{"question":"Who?","golden_answers":["me"]}`+"\n"), 0o644))
	folder := func(t *testing.T, recipe, key string) string {
		_, rest, ok := strings.Cut(recipe, "\n"+key+": ")
		require.True(t, ok, "names no %s", key)
		name, _, _ := strings.Cut(rest, "\n")
		for prefix, config := range shapes {
			if strings.HasPrefix(name, prefix) {
				at := filepath.Join(dir, name)
				require.NoError(t, os.MkdirAll(at, 0o755))
				require.NoError(t, os.WriteFile(filepath.Join(at, "config.json"), []byte(config), 0o644))
				return at
			}
		}
		t.Fatalf("no shape for %s", name)
		return ""
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			code, stdout, stderr := zs("", "train", "--config", file, "--model", folder(t, string(text), "model"),
				"--simulation-llm", folder(t, string(text), "simulation-llm"), "--data", data, "--train-batch-size",
				"1", "--dry-run")
			require.Contains(t, stdout, "optimizer steps", stderr)
			if code != 0 {
				require.Contains(t, stderr, "planning the memory of", "only memory may be missing")
			}
		})
	}
}
