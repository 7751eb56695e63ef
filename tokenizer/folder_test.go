package tokenizer

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// folderCase is a line of testdata/folders.jsonl: a folder with a tokenizer, and what transformers makes of it.
type folderCase struct {
	Tokenizer map[string]json.RawMessage // of tokenizer.json: what differs from one case to the next
	Files     map[string]json.RawMessage // beside it
	Added     map[int32]string           // contents of the added tokens by id
	Special   map[string]string          // tokens with a role
	Texts     []struct {
		Text       string
		IDs, Split []int32 // with special tokens parsed, and as text
		All, Skip  string  // IDs decoded, with and without special tokens
	}
}

// write makes the folder. All cases share a byte-level vocabulary.
func (c *folderCase) write(t testing.TB) string {
	dir := t.TempDir()
	vocab := map[string]int{}
	for b := range 256 {
		vocab[toAlphabet([]byte{byte(b)})] = b
	}
	merges := [][2]string{{"a", "b"}, {"Ġ", "c"}, {"Ã", "©"}, {"<", "x"}}
	for i, m := range merges {
		vocab[m[0]+m[1]] = 256 + i
	}
	file := map[string]any{"pre_tokenizer": map[string]any{"type": "ByteLevel", "add_prefix_space": false},
		"decoder": map[string]any{"type": "ByteLevel"},
		"model":   map[string]any{"type": "BPE", "vocab": vocab, "merges": merges}}
	for k, v := range c.Tokenizer {
		file[k] = v
	}
	text, err := json.Marshal(file)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "tokenizer.json"), text, 0o666))
	for name, text := range c.Files {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), text, 0o666))
	}
	return dir
}

// Tokens that stand only in the files beside tokenizer.json become tokens, with the ids and switches that transformers
// 5.23.0 gives them (testdata/folders.py, whose folders are random). FOLDERS names another file of such cases.
func TestFoldersAsReference(t *testing.T) {
	file := "testdata/folders.jsonl"
	if other := os.Getenv("FOLDERS"); other != "" {
		file = other
	}
	eachLine(t, file, func(n int, c folderCase) {
		tok, err := Open(c.write(t))
		require.NoError(t, err, "line %d", n)
		added := map[int32]string{}
		for content, id := range tok.added.ids {
			added[id] = content
		}
		require.Equal(t, c.Added, added, "line %d", n)
		require.Equal(t, c.Special, tok.chat.special, "line %d", n)
		for _, x := range c.Texts {
			ids := tok.Encode(x.Text, EncodeOptions{ParseSpecial: true})
			require.Equal(t, x.IDs, ids, "line %d: %q", n, x.Text)
			require.Equal(t, x.Split, tok.Encode(x.Text, EncodeOptions{}), "line %d: %q as text", n, x.Text)
			require.Equal(t, x.All, tok.Decode(ids, false), "line %d: %q", n, x.Text)
			require.Equal(t, x.Skip, tok.Decode(ids, true), "line %d: %q", n, x.Text)
		}
	})
}
