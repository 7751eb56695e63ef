package rollout

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/rl/data"
	"github.com/zerosearch-go/zerosearch/tokenizer"
)

// A row's own prompt is text with its special tokens, as the text prompts of sft are, or messages, whose contents may
// come in parts and whose special tokens are the template's alone.
func TestOwnPrompt(t *testing.T) {
	raw, err := tokenizer.Train(func(func(string) bool) {}, 258, []string{"<|user|>", "<|end|>"})
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "tokenizer.json")
	require.NoError(t, os.WriteFile(path, raw, 0o644))
	tok, err := tokenizer.Open(path)
	require.NoError(t, err)
	tmpl, err := tok.ParseTemplate("{% for m in messages %}{{ '<|user|>' + m.content }}{% endfor %}")
	require.NoError(t, err)
	p := Prompter{Tokenizer: tok, Template: tmpl, MaxTokens: 20}
	ids := func(column string) ([]int32, error) {
		return p.IDs(data.Question{ID: "q", Columns: map[string]json.RawMessage{"prompt": json.RawMessage(column)}})
	}
	bytes := func(s string) []int32 { return tok.Encode(s, tokenizer.EncodeOptions{}) }
	for column, want := range map[string][]int32{
		`"<|user|>a<|end|>"`:      {0, bytes("a")[0], 1},
		`[{"content":"a<b>"}]`:    append([]int32{0}, bytes("a<b>")...),
		`[{"content":"<|end|>"}]`: append([]int32{0}, bytes("<|end|>")...),
		`[{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}]`: append([]int32{0},
			bytes("a\nb")...),
	} {
		got, err := ids(column)
		require.NoError(t, err, column)
		require.Equal(t, want, got, column)
	}
	for column, want := range map[string]string{
		`7`:  "question q: its prompt is neither text nor a list of messages",
		`[]`: "question q: its prompt is neither text nor a list of messages",
		`[{"role":"user","content":[{"type":"image"}]}]`: `question q: message 1 of its prompt: content of type "image" is not supported`,
		`"aaaaaaaaaaaaaaaaaaaaaaaaa"`: "question q has a prompt of 25 tokens, more than the 20 " +
			"that fit",
	} {
		_, err := ids(column)
		require.ErrorContains(t, err, want, column)
	}
}
