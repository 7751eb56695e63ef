package search_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/zerosearch-go/zerosearch/rl/search"
	"github.com/zerosearch-go/zerosearch/rl/search/searchtest"
)

func TestParseMixture(t *testing.T) {
	for in, want := range map[string][]search.Share{
		"bm25":                       {{Mode: "bm25", Weight: 1}},
		"simulate_sft:0.8,bm25:0.2":  {{Mode: "simulate_sft", Weight: 0.8}, {Mode: "bm25", Weight: 0.2}},
		" simulate_sft , none : 1e1": {{Mode: "simulate_sft", Weight: 1}, {Mode: "none", Weight: 10}},
	} {
		got, err := search.ParseMixture(in)
		require.NoError(t, err, in)
		require.Equal(t, want, got)
	}
	for _, bad := range []string{"", ",", "a:", "a:0", "a:-1", "a:x", "a:NaN", "a:Inf", ":1", "a,,b", "a:1,a:2"} {
		_, err := search.ParseMixture(bad)
		require.Error(t, err, bad)
	}
}

// named gives its name for every query.
type named string

func (n named) Name() string { return string(n) }
func (n named) Search(ctx context.Context, _ search.Query) (search.Documents, error) {
	return search.Documents{Text: string(n), Docs: []string{string(n)}}, ctx.Err()
}

func TestMixture(t *testing.T) {
	m, err := search.NewMixture([]search.Searcher{named("a"), named("b"), named("c")}, []float64{8, 1, 1})
	require.NoError(t, err)
	count := map[string]float64{}
	const n = 20000
	useful := map[string]float64{}
	for i := range uint64(n) {
		d, err := m.Search(t.Context(), search.Query{Stream: i})
		require.NoError(t, err)
		count[d.Text] += 1. / n
		if search.Draw(i) > 0.5 {
			useful[d.Text]++
		}
	}
	require.InDelta(t, 0.8, count["a"], 0.01)
	require.InDelta(t, 0.1, count["b"], 0.01)
	require.InDelta(t, 0.1, count["c"], 0.01)
	require.InDelta(t, 0.5, useful["b"]/n/count["b"], 0.04,
		"which engine does not depend on the draw for the documents' quality")
	searchtest.Run(t, m)
	for _, w := range [][]float64{nil, {1}, {1, 1, 0}, {1, 1, -1}} {
		_, err := search.NewMixture([]search.Searcher{named("a"), named("b"), named("c")}, w)
		require.Error(t, err)
	}
}
