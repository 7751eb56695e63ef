// Package uses holds documents to try the program out on.
package uses

import (
	"bufio"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/rl/reward"
	"github.com/zerosearch-go/zerosearch/rl/search"
)

// All thirty documents are read, and BM25 finds a passage with the answer among the first five for every question.
func TestQuestionsCanBeAnswered(t *testing.T) {
	corpus, err := search.ReadCorpus("documents")
	require.NoError(t, err)
	require.Empty(t, corpus.Bad)
	require.Empty(t, corpus.Skipped)
	files := 0
	require.NoError(t, filepath.WalkDir("documents", func(_ string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files++
		}
		return err
	}))
	require.Equal(t, 30, files)

	index := search.NewBM25(corpus.Passages)
	f, err := os.Open("questions.jsonl")
	require.NoError(t, err)
	defer f.Close()
	asked, first := 0, 0
	for s := bufio.NewScanner(f); s.Scan(); asked++ {
		var q struct {
			Question, File string
			Answers        []string `json:"golden_answers"`
		}
		require.NoError(t, json.Unmarshal(s.Bytes(), &q))
		require.FileExists(t, filepath.Join("documents", q.File))
		found, err := index.Search(t.Context(), search.Query{Query: q.Question})
		require.NoError(t, err)
		at := -1
		for i, d := range found.Docs {
			if at < 0 && reward.SubEM(d, q.Answers) == 1 {
				at = i
			}
		}
		require.GreaterOrEqual(t, at, 0, q.Question)
		if at == 0 {
			first++
		}
	}
	require.Equal(t, 20, asked)
	require.GreaterOrEqual(t, first, 15)
	t.Logf("%d of %d answers stand in the first passage", first, asked)
}
