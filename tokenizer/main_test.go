package tokenizer

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/internal/goldens"
)

// opened keeps the tokenizers that tests share.
var opened = map[string]*Tokenizer{}

// open returns a reference tokenizer: smollm2 from testdata, the others from the shared data, derived where a README
// says how.
func open(t testing.TB, name string) *Tokenizer {
	t.Helper()
	if tok := opened[name]; tok != nil {
		return tok
	}
	var tok *Tokenizer
	var err error
	switch name {
	case "smollm2":
		tok, err = Open("testdata/smollm2")
	case "llama3", "qwen3":
		tok, err = Open(goldens.Data(t, "tokenizers/"+name))
	case "tiny-llama3", "tiny-metaspace":
		tok, err = Open("testdata/tiny/" + name + ".json")
	case "llama2":
		tok, err = Open(goldens.Data(t, "tokenizers/llama2/tokenizer.model"))
	default:
		dir := t.TempDir()
		text, err := json.Marshal(derived(t, name))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, "tokenizer.json"), text, 0o666))
		tok, err = Open(dir)
		require.NoError(t, err)
	}
	require.NoError(t, err)
	opened[name] = tok
	return tok
}

// derived is the tokenizer.json of a relative of one that is there.
func derived(t testing.TB, name string) map[string]any {
	switch name {
	case "qwen2.5":
		var delta struct {
			Drop []float64 `json:"drop_added_tokens"`
		}
		readTestJSON(t, goldens.Data(t, "tokenizers/qwen2.5/DERIVE.json"), &delta)
		return editAdded(t, "qwen3", func(a map[string]any) bool {
			for _, id := range delta.Drop {
				if a["id"] == id {
					return false
				}
			}
			return true
		})
	case "llama3.2":
		var delta struct{ Rename map[string]string }
		readTestJSON(t, goldens.Data(t, "tokenizers/llama3/LLAMA32_DELTA.json"), &delta)
		return editAdded(t, "llama3", func(a map[string]any) bool {
			id, _ := json.Marshal(a["id"])
			if s, ok := delta.Rename[string(id)]; ok {
				a["content"] = s
			}
			return true
		})
	case "gpt2":
		var vocab map[string]any
		readTestJSON(t, goldens.Data(t, "tokenizers/gpt2/vocab.json"), &vocab)
		text, err := os.ReadFile(goldens.Data(t, "tokenizers/gpt2/merges.txt"))
		require.NoError(t, err)
		lines := strings.Split(strings.TrimSpace(string(text)), "\n")
		return map[string]any{
			"added_tokens":  []any{map[string]any{"id": 50256, "content": "<|endoftext|>", "special": true}},
			"pre_tokenizer": map[string]any{"type": "ByteLevel", "add_prefix_space": false},
			"decoder":       map[string]any{"type": "ByteLevel"},
			"model":         map[string]any{"type": "BPE", "merges": lines, "vocab": vocab},
		}
	}
	t.Fatalf("no tokenizer %q", name)
	return nil
}

func editAdded(t testing.TB, base string, keep func(map[string]any) bool) map[string]any {
	var file map[string]any
	readTestJSON(t, goldens.Data(t, "tokenizers/"+base+"/tokenizer.json.gz"), &file)
	var kept []any
	for _, a := range file["added_tokens"].([]any) {
		if keep(a.(map[string]any)) {
			kept = append(kept, a)
		}
	}
	file["added_tokens"] = kept
	return file
}

func readTestJSON(t testing.TB, file string, v any) {
	t.Helper()
	text, err := readFile(file)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, v), file)
}

// eachLine decodes every line of a .jsonl or .jsonl.gz file.
func eachLine[T any](t testing.TB, file string, f func(n int, v T)) {
	t.Helper()
	in, err := os.Open(file)
	require.NoError(t, err)
	defer in.Close()
	var r io.Reader = in
	if strings.HasSuffix(file, ".gz") {
		r, err = gzip.NewReader(in)
		require.NoError(t, err)
	}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<24)
	n := 0
	for ; lines.Scan(); n++ {
		var v T
		require.NoError(t, json.Unmarshal(lines.Bytes(), &v), "%s:%d", file, n+1)
		f(n+1, v)
	}
	require.NoError(t, lines.Err())
	require.NotZero(t, n, "%s is empty", file)
}

// join writes ids with spaces between them.
func join(ids []int32) string {
	return strings.ReplaceAll(strings.Trim(jsonText(ids), "[]nul"), ",", " ")
}

func jsonText(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}
