package fingerprint

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// modelFolder writes a folder with every file that a fingerprint covers.
func modelFolder(t *testing.T) string {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"config.json": `{"model_type":"llama"}`, "generation_config.json": `{"eos_token_id":2}`,
		"model.safetensors":     "weights",
		"optimizer.safetensors": "moments", "tokenizer.json": `{"model":{}}`, "special_tokens_map.json": "{}",
		"tokenizer_config.json":                    `{"eos_token":"</s>","chat_template":"{{ a }}"}`,
		"chat_template.jinja":                      "{{ b }}",
		"additional_chat_templates/tool_use.jinja": "{{ c }}",
		"adapter_config.json":                      `{"r":8,"base_model_name_or_path":"/here"}`,
		"adapter_model.safetensors":                "adapter",
	} {
		write(t, filepath.Join(dir, name), text)
	}
	return dir
}

func write(t *testing.T, path, text string) {
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
}

func partsOf(t *testing.T, dir string) Parts {
	p := Parts{}
	require.NoError(t, p.Model("model", dir))
	require.NoError(t, p.Adapter("model.adapter", dir))
	return p
}

// A change of a file changes exactly the part that it belongs to. Other files change no part.
func TestEachFileIsItsPart(t *testing.T) {
	for _, c := range []struct{ file, text, want string }{
		{"model.safetensors", "Weights", "the weights of --model have changed"},
		{"config.json", `{"model_type":"qwen2"}`, "the configuration of --model has changed"},
		{"generation_config.json", `{"eos_token_id":3}`, "the configuration of --model has changed"},
		{"tokenizer.json", `{"model":{"a":1}}`, "the tokenizer of --model has changed"},
		{"special_tokens_map.json", `{"a":1}`, "the tokenizer of --model has changed"},
		{"added_tokens.json", `{"a":1}`, "the tokenizer of --model has changed"},
		{"tokenizer_config.json", `{"eos_token":"x","chat_template":"{{ a }}"}`,
			"the tokenizer of --model has changed"},
		{"tokenizer_config.json", `{"eos_token":"</s>","chat_template":"{{ x }}"}`,
			"the chat template of --model has changed"},
		{"chat_template.jinja", "{{ x }}", "the chat template of --model has changed"},
		{"additional_chat_templates/tool_use.jinja", "{{ x }}", "the chat template of --model has changed"},
		{"additional_chat_templates/default.jinja", "{{ c }}", "the chat template of --model has changed"},
		{"adapter_model.safetensors", "Adapter", "the adapter of --model has changed"},
		{"adapter_config.json", `{"r":4,"base_model_name_or_path":"/here"}`, "the adapter of --model has changed"},
		{"adapter_config.json", `{"base_model_name_or_path":"/elsewhere","r":8}`, ""},
		{"optimizer.safetensors", "others", ""},
		{"README.md", "x", ""},
	} {
		dir := modelFolder(t)
		was := partsOf(t, dir)
		write(t, filepath.Join(dir, c.file), c.text)
		require.Equal(t, c.want, Sentence(Compare(was, partsOf(t, dir))), c.file)
	}
}

// Digests depend on the content of a folder or of shards, not on their path.
func TestFoldersMoveAndShardsCount(t *testing.T) {
	dir := modelFolder(t)
	was := partsOf(t, dir)
	moved := filepath.Join(t.TempDir(), "a [b]*")
	require.NoError(t, os.Rename(dir, moved))
	require.Empty(t, Compare(was, partsOf(t, moved)))

	require.NoError(t, os.Remove(filepath.Join(moved, "model.safetensors")))
	write(t, filepath.Join(moved, "model.safetensors.index.json"),
		`{"weight_map":{"a":"m-1.safetensors","b":"m-2.safetensors","c":"m-1.safetensors"}}`)
	write(t, filepath.Join(moved, "m-1.safetensors"), "1")
	write(t, filepath.Join(moved, "m-2.safetensors"), "2")
	sharded := partsOf(t, moved)
	write(t, filepath.Join(moved, "m-2.safetensors"), "3")
	require.Equal(t, "the weights of --model have changed", Sentence(Compare(sharded, partsOf(t, moved))))
	require.NoError(t, os.Remove(filepath.Join(moved, "m-2.safetensors")))
	require.ErrorContains(t, Parts{}.Model("model", moved), "m-2.safetensors")
}

// A flipped bit at any place in a file of several blocks changes the digest, and so does appending to the file.
func TestEveryBitCounts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "weights")
	body := bytes.Repeat([]byte{7}, 2*blockBytes+100)
	sum := func() string {
		require.NoError(t, os.WriteFile(path, body, 0o644))
		p := Parts{}
		require.NoError(t, p.File("w", path))
		return p["w"]
	}
	seen := map[string]int{sum(): -1}
	for _, at := range []int{0, blockBytes - 1, blockBytes, blockBytes + blockBytes/2, 2 * blockBytes, len(body) - 1} {
		body[at] ^= 1
		s := sum()
		before, again := seen[s]
		require.False(t, again, "byte %d as byte %d", at, before)
		seen[s] = at
		body[at] ^= 1
	}
	body = body[:len(body)-1]
	require.NotContains(t, seen, sum())
}

// The descriptions of settings and contents that were added, removed and changed.
func TestDifferences(t *testing.T) {
	was := Parts{"lr": "0.1", "n": "4", "same": "1"}
	was.Content("data", "a", "b")
	was.Content("model.adapter", "x")
	now := Parts{"lr": "0.2", "topk": "3", "same": "1"}
	now.Content("data", "ab", "")
	now.Content("model.weights", "y")
	require.Equal(t,
		"the content of --data has changed; --lr was 0.1, is 0.2; --model has no adapter any more; --model had no "+
			"weights; "+
			"--n was 4, is not given; --topk is 3, was not given", Sentence(Compare(was, now)))
	require.Empty(t, Compare(nil, Parts{}))
	require.ErrorContains(t, Parts{}.File("w", t.TempDir()), "is not a regular file")
}
