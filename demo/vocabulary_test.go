package demo

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/rl/search"
	"github.com/zerosearch-go/zerosearch/tokenizer"
)

// tokens are the tokens of a tokenizer.json. Their order depends on counts, so any change of the recipe's texts changes
// it.
func tokens(t *testing.T, file []byte) []string {
	var f struct {
		Model struct{ Vocab map[string]int }
	}
	require.NoError(t, json.Unmarshal(file, &f))
	return slices.Collect(maps.Keys(f.Model.Vocab))
}

// The vocabulary can encode any text, and has one token for each tag and each name.
func TestVocabulary(t *testing.T) {
	data, err := Vocabulary()
	require.NoError(t, err)
	embeddedFile, err := embedded.ReadFile("models/policy/tokenizer.json")
	require.NoError(t, err)
	require.ElementsMatch(t, tokens(t, embeddedFile), tokens(t, data),
		"the recipe makes the tokens of the embedded models")
	path := filepath.Join(t.TempDir(), "tokenizer.json")
	require.NoError(t, os.WriteFile(path, data, 0o644))
	tok, err := tokenizer.Open(path)
	require.NoError(t, err)
	for _, a := range firsts {
		for _, b := range seconds {
			require.Len(t, tok.Encode(" "+a+b, tokenizer.EncodeOptions{}), 1, a+b)
		}
	}
	for i, tag := range tags {
		require.Equal(t, []int32{int32(i)}, tok.Encode(tag, tokenizer.EncodeOptions{ParseSpecial: true}))
	}
	texts := []string{"Grüße, 東京!", search.Render(search.SFT, search.Noisy,
		search.Query{Query: "a", Question: "b", GoldenAnswers: []string{"c"}}, 3)}
	w := NewWriter(3)
	for b := range shares {
		for _, p := range w.Trajectory(Behaviour(b)) {
			texts = append(texts, p.Text)
		}
	}
	for _, s := range texts {
		require.Equal(t, s, tok.Decode(tok.Encode(s, tokenizer.EncodeOptions{}), false))
	}
}
