package demo

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/tokenizer"
)

func TestVocabulary(t *testing.T) {
	data, err := Vocabulary()
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "tokenizer.json")
	require.NoError(t, os.WriteFile(path, data, 0o644))
	tok, err := tokenizer.Open(path)
	require.NoError(t, err)
	all, two := 0, 0
	for _, a := range firsts {
		for _, b := range seconds {
			all++
			if n := len(tok.Encode(" "+a+b, tokenizer.EncodeOptions{})); n == 2 {
				two++
			}
		}
	}
	t.Log(tok.VocabSize(), all, two)
	w := NewWriter(3)
	for b := range shares {
		s := ""
		for _, p := range w.Trajectory(Behaviour(b)) {
			s += p.Text
		}
		ids := tok.Encode(s, tokenizer.EncodeOptions{})
		require.Equal(t, s, tok.Decode(ids, false))
		t.Log(len(s), len(ids))
	}
	p, o := w.Simulation()
	t.Log(len(tok.Encode(p, tokenizer.EncodeOptions{})), len(tok.Encode(o, tokenizer.EncodeOptions{})))
}
