package tokenizer

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// Hugging Face's BpeTrainer makes the same vocabulary and merges of the same texts (testdata/tiny/make.py).
func TestTrainAsReference(t *testing.T) {
	var want struct {
		Texts  []string
		Vocab  map[string]int32
		Merges [][2]string
	}
	readTestJSON(t, "testdata/tiny/trained.json", &want)
	text, err := Train(slices.Values(want.Texts), 600, []string{"<pad>", "</s>"})
	require.NoError(t, err)
	var got struct {
		Model struct {
			Vocab  map[string]int32
			Merges [][2]string
		}
	}
	file := filepath.Join(t.TempDir(), "tokenizer.json")
	require.NoError(t, os.WriteFile(file, text, 0o666))
	readTestJSON(t, file, &got)
	require.Equal(t, want.Merges, got.Model.Merges)
	require.Equal(t, want.Vocab, got.Model.Vocab)

	tok, err := Open(file)
	require.NoError(t, err)
	require.Equal(t, len(want.Vocab), tok.VocabSize())
	for _, s := range append(want.Texts, "unseen \x00 ☃ words</s>") {
		ids := tok.Encode(s, EncodeOptions{ParseSpecial: true})
		require.Equal(t, s, tok.Decode(ids, false))
		require.Less(t, len(ids), len(s))
	}
	again, err := Train(slices.Values(want.Texts), 600, []string{"<pad>", "</s>"})
	require.NoError(t, err)
	require.Equal(t, text, again)
}

func TestTrainRefuses(t *testing.T) {
	none := slices.Values([]string(nil))
	for _, c := range []struct {
		size     int
		specials []string
	}{{255, nil}, {256, []string{"<s>"}}, {300, []string{"<s>", "<s>"}}, {300, []string{""}}, {300, []string{"a"}},
		{1 << 30, nil}} {
		_, err := Train(none, c.size, c.specials)
		require.Error(t, err, "%v", c)
	}
	text, err := Train(none, 300, nil) // nothing to merge: the bytes alone
	require.NoError(t, err)
	tok, err := Parse(text)
	require.NoError(t, err)
	require.Equal(t, 256, tok.VocabSize())
}
