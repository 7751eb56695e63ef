package demo

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/rl/search"
	"github.com/zerosearch-go/zerosearch/tokenizer"
)

// The vocabulary spells everything, keeps tags whole, and takes two tokens for nearly every name.
func TestVocabulary(t *testing.T) {
	data, err := Vocabulary()
	require.NoError(t, err)
	embeddedFile, err := embedded.ReadFile("models/policy/tokenizer.json")
	require.NoError(t, err)
	require.Equal(t, string(embeddedFile), string(data), "the embedded tokenizer is the one that the recipe makes")
	path := filepath.Join(t.TempDir(), "tokenizer.json")
	require.NoError(t, os.WriteFile(path, data, 0o644))
	tok, err := tokenizer.Open(path)
	require.NoError(t, err)
	two := 0
	for _, a := range firsts {
		for _, b := range seconds {
			if len(tok.Encode(" "+a+b, tokenizer.EncodeOptions{})) == 2 {
				two++
			}
		}
	}
	require.Greater(t, float64(two)/float64(len(firsts)*len(seconds)), 0.95)
	for i, tag := range tags {
		require.Equal(t, []int32{int32(i)}, tok.Encode(tag, tokenizer.EncodeOptions{ParseSpecial: true}))
	}
	texts := []string{"Grüße, 東京!", search.Render(search.SFT, search.Noisy, search.Query{Query: "a", Question: "b", GoldenAnswers: []string{"c"}}, 3)}
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
