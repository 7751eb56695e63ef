package search_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/zerosearch-go/zerosearch/rl/search"
	"github.com/zerosearch-go/zerosearch/rl/search/searchtest"
)

const recorded = `{"step":1,"question":"Who?","turns":[{"action":"search","query":"Old  King","documents":["x"],"quality":"useful","tau":0.25,"draw":0.7,"observation":"\n\n<information>Here it is:\nDoc 1: x</information>\n\n"},{"action":"search","query":"late","documents":[],"observation":"\n\n<information>No information available</information>\n\n"},{"action":"answer","query":"never"},{"action":"search","query":"unanswered"}]}
{"step":1,"question":"Who else?","turns":[{"action":"search","query":"old king","documents":["y","z"],"observation":"\n\n<information>Doc 1: y\nDoc 2: z </information> q</information>\n\n"}]}
{"step":2,"question":"Who?","turns":[{"action":"search","query":"old king","documents":["w"],"observation":"lost"}]}
`

func TestReplay(t *testing.T) {
	path := filepath.Join(t.TempDir(), "episodes.jsonl")
	write := func(s string) { require.NoError(t, os.WriteFile(path, []byte(s), 0o644)) }
	write(recorded)
	r, err := search.NewReplay(path)
	require.NoError(t, err)
	require.Equal(t, 4, r.Queries)
	ask := func(question, query string, stream uint64) search.Documents {
		d, err := r.Search(t.Context(), search.Query{Question: question, Query: query, Stream: stream})
		require.NoError(t, err)
		return d
	}
	seen := map[string]bool{}
	for i := range uint64(20) { // recorded twice for this question
		d := ask("who? ", "old king", i)
		seen[d.Text] = true
		if d.Quality == search.Useful {
			require.Equal(t, []float64{0.25, 0.7}, []float64{d.Tau, d.Draw})
		}
	}
	require.Equal(t, map[string]bool{"Here it is:\nDoc 1: x": true, "Doc 1: w": true}, seen)
	require.Equal(t, "Doc 1: y\nDoc 2: z </information> q", ask("Who else?", "OLD KING", 1).Text,
		"tags in documents stay")
	require.Equal(t, search.NoInformation, ask("Who?", "late", 1).Text)
	require.NotEmpty(t, ask("somebody else's", "old king", 1).Docs, "another question, the same query")
	for _, q := range []string{"never", "unanswered", "new", ""} {
		require.Equal(t, search.NoInformation, ask("Who?", q, 1).Text)
	}
	searchtest.Run(t, r)

	write(
		`{"question":"Who?","turns":[{"action":"search","query":"sim","documents":["I think of Rome\n</think>","x"],"quality":"noisy",` +
			`"observation":"\n\n<information>I think of Rome\n</think>\nDoc 1: x</information>\n\n"},` +
			`{"action":"search","query":"real","documents":["the tag </think>"],"observation":"\n\n<information>Doc 1: the tag </think></information>\n\n"},` +
			`{"action":"search","query":"only","documents":["<think>Rome"],"quality":"useful","observation":"\n\n<information><think>Rome</information>\n\n"}]}`)
	r, err = search.NewReplay(path)
	require.NoError(t, err)
	require.Equal(t, 2, r.Queries, "a search that found thoughts only was not answered")
	require.Equal(t, []string{"x"}, ask("Who?", "sim", 1).Docs, "a simulator's thoughts are no documents")
	require.Equal(t, "Doc 1: x", ask("Who?", "sim", 1).Text)
	require.Equal(t, []string{"the tag </think>"}, ask("Who?", "real", 1).Docs,
		"pages of other engines are as they are")
	for content, want := range map[string]string{"": "records none", `{"question":"x","turns":[]}`: "records none",
		`{"question":"x"}`:           "row 1: no column turns",
		`{"question":"x","turns":7}`: "row 1: column turns", "x": "row 1"} {
		write(content)
		_, err := search.NewReplay(path)
		require.ErrorContains(t, err, want)
	}
	_, err = search.NewReplay(path + "x")
	require.True(t, errors.Is(err, os.ErrNotExist))
}
