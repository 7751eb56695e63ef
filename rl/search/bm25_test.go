package search_test

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/zerosearch-go/zerosearch/internal/goldens"
	"github.com/zerosearch-go/zerosearch/rl/data"
	"github.com/zerosearch-go/zerosearch/rl/reward"
	"github.com/zerosearch-go/zerosearch/rl/search"
	"github.com/zerosearch-go/zerosearch/rl/search/searchtest"
	"pgregory.net/rapid"
)

var small = []string{
	"\"Paris\"\nParis is the capital of France.",
	"\"Berlin\"\nBerlin is the capital of Germany. Berlin is large.",
	"\"Cat\"\nCats are animals; a cat is an animal.",
	"",
	"\"Röntgen\"\nWilhelm Conrad Röntgen won the first Nobel prize in physics.",
}

func TestBM25Formula(t *testing.T) {
	x := search.NewBM25([]string{"red red blue", "blue green green green", "grey"})
	hits := x.Find("red blue", 5)
	idf := func(df float64) float64 { return math.Log(1 + (3-df+0.5)/(df+0.5)) }
	score := func(idf, tf, n float64) float64 { return idf * tf / (tf + 1.2*(1-0.75+0.75*n/(8.0/3))) }
	require.Len(t, hits, 2)
	require.Equal(t, 0, hits[0].Passage)
	require.InDelta(t, score(idf(1), 2, 3)+score(idf(2), 1, 3), hits[0].Score, 1e-12)
	require.Equal(t, 1, hits[1].Passage)
	require.InDelta(t, score(idf(2), 1, 4), hits[1].Score, 1e-12)
	tied := search.NewBM25([]string{"x", "same words", "same words", "same words"}).Find("same words", 2)
	require.Equal(t, []int{1, 2}, []int{tied[0].Passage, tied[1].Passage}, "ties go to the earlier passage")
	require.Empty(t, x.Find("black", 5))
	require.Empty(t, x.Find("red", 0))
	require.Equal(t, []search.Hit{{Passage: 0, Score: hits[0].Score}}, x.Find("red blue", 1))
}

func TestBM25Search(t *testing.T) {
	x := search.NewBM25(small)
	d, err := x.Search(t.Context(), search.Query{Query: "What is the capital of FRANCE?"})
	require.NoError(t, err)
	require.Equal(t, "Doc 1: \"Paris\" Paris is the capital of France.\nDoc 2: \"Berlin\" Berlin is the capital of "+
		"Germany. Berlin is large.", d.Text)
	require.Equal(t, []string{"\"Paris\" Paris is the capital of France.",
		"\"Berlin\" Berlin is the capital of Germany. Berlin is large."}, d.Docs)
	require.Equal(t, search.Real, d.Quality)
	d, err = x.Search(t.Context(), search.Query{Query: "the of is"})
	require.NoError(t, err)
	require.Equal(t, search.NoInformation, d.Text)
	require.Equal(t, 2, x.Find("cat", 9)[0].Passage, "plurals meet singulars")
	require.Equal(t, 4, x.Find("nobel prizes röntgen", 9)[0].Passage)
	searchtest.Run(t, x)
	searchtest.Run(t, search.NewBM25(nil))
}

// The index agrees with a loop over all passages that applies the formula word by word.
func TestBM25AgainstBruteForce(t *testing.T) {
	word := rapid.SampledFrom([]string{"red", "blue", "green", "grey", "black", "white", "pink"})
	text := rapid.Custom(func(t *rapid.T) string { return strings.Join(rapid.SliceOfN(word, 0, 8).Draw(t, "w"), " ") })
	rapid.Check(t, func(t *rapid.T) {
		docs := rapid.SliceOfN(text, 1, 12).Draw(t, "docs")
		q := text.Draw(t, "q")
		x := search.NewBM25(docs)
		total := 0
		for _, d := range docs {
			total += len(strings.Fields(d))
		}
		mean := max(float64(total)/float64(len(docs)), 1)
		want := make([]float64, len(docs))
		for i, d := range docs {
			for _, w := range strings.Fields(q) {
				df, tf := 0.0, 0.0
				for _, e := range docs {
					if strings.Contains(e, w) {
						df++
					}
				}
				tf = float64(strings.Count(d, w))
				if tf > 0 {
					want[i] += math.Log(1+(float64(len(docs))-df+0.5)/(df+0.5)) * tf /
						(tf + 1.2*(0.25+0.75*float64(len(strings.Fields(d)))/mean))
				}
			}
		}
		hits := x.Find(q, 4)
		last := math.Inf(1)
		seen := map[int]bool{}
		for _, h := range hits {
			require.InDelta(t, want[h.Passage], h.Score, 1e-9)
			require.LessOrEqual(t, h.Score, last)
			last = h.Score
			seen[h.Passage] = true
		}
		for i, s := range want {
			if !seen[i] && s > 0 {
				require.Len(t, hits, 4)
				require.LessOrEqual(t, s, last+1e-9)
			}
		}
		require.Equal(t, hits, x.Find(q, 4), "the scratch is left clean")
	})
}

func TestLoadBM25(t *testing.T) {
	dir := t.TempDir()
	write := func(s string) string {
		p := filepath.Join(dir, "c.jsonl")
		require.NoError(t, os.WriteFile(p, []byte(s), 0o644))
		return p
	}
	x, err := search.LoadBM25(write(`{"id":"1","contents":"\"Paris\"\ncapital of France"}` + "\n" +
		`{"title":"Rome","text":"capital of Italy"}` + "\n" + `{"text":"capital"}`))
	require.NoError(t, err)
	require.Equal(t, 3, x.Len())
	d, err := x.Search(t.Context(), search.Query{Query: "rome italy"})
	require.NoError(t, err)
	require.Equal(t, `Doc 1: "Rome" capital of Italy`, d.Text)
	for content, want := range map[string]string{"": "no passages",
		`{"body":"x"}`:    "row 1: no column contents (or text): the columns are body",
		`{"contents":{}}`: "row 1: column contents: expected text", "x": "row 1"} {
		_, err := search.LoadBM25(write(content))
		require.ErrorContains(t, err, want)
	}
	_, err = search.LoadBM25(filepath.Join(dir, "absent"))
	require.ErrorIs(t, err, os.ErrNotExist)
}

// On the shared corpus the index is fast, and finds the passage with the answer for most SQuAD questions.
func TestBM25SharedCorpus(t *testing.T) {
	path := goldens.Data(t, "contexts/corpus.jsonl.gz")
	t0 := time.Now()
	x, err := search.LoadBM25(path)
	require.NoError(t, err)
	t.Logf("indexed %d passages in %v", x.Len(), time.Since(t0))
	require.Equal(t, 9269, x.Len())
	qs, err := data.Load(goldens.Data(t, "contexts/ctx_squad.jsonl.gz"))
	require.NoError(t, err)
	t0 = time.Now()
	hit := 0.0
	for _, q := range qs {
		d, err := x.Search(t.Context(), search.Query{Query: q.Question})
		require.NoError(t, err)
		hit += reward.SubEM(d.Text, q.GoldenAnswers)
	}
	t.Logf("%v a query; answer among the five documents: %.1f%%", time.Since(t0)/time.Duration(len(qs)),
		100*hit/float64(len(qs)))
	require.Greater(t, hit/float64(len(qs)), 0.9)
}
