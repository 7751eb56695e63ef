package demo

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/rl/search"
	"github.com/zerosearch-go/zerosearch/tokenizer"
)

// The vocabulary can encode any text, and has one token for each tag and each name.
func TestVocabulary(t *testing.T) {
	data, err := vocabulary()
	require.NoError(t, err)
	simulator, err := embedded.ReadFile("models/simulator/tokenizer.json")
	require.NoError(t, err)
	require.Equal(t, data, simulator)
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
	for h := range allHabits {
		for _, p := range w.Trajectory(h) {
			texts = append(texts, p.Text)
		}
	}
	for _, s := range texts {
		require.Equal(t, s, tok.Decode(tok.Encode(s, tokenizer.EncodeOptions{}), false))
	}
}

// allHabits yields every combination of decisions.
func allHabits(yield func(Habits) bool) {
	for i := range 16 {
		if !yield(Habits{i&1 > 0, i&2 > 0, i&4 > 0, i&8 > 0}) {
			return
		}
	}
}
