package search_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/zerosearch-go/zerosearch/rl/search"
)

func TestMeter(t *testing.T) { synctest.Test(t, testMeter) }

func testMeter(t *testing.T) {
	m := search.NewMeter(search.Prices{Google: 0.01, Hour: 3600, Tokens: 1e6})
	sim := search.NewSimulated(generator(func([]search.Message, search.GenerateOptions) (search.Generation, error) {
		time.Sleep(20 * time.Millisecond)
		return search.Generation{Text: "Doc 1: x", PromptTokens: 7, CompletionTokens: 3}, nil
	}), search.SFT, search.Curriculum{})
	far := *sim
	far.Engine = "remote"
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			d, err := m.Wrap(sim).Search(t.Context(), search.Query{Stream: uint64(i)})
			require.NoError(t, err)
			require.Equal(t, "simulate_sft", d.Engine)
		})
	}
	wg.Wait()
	_, err := m.Wrap(&far).Search(t.Context(), search.Query{})
	require.NoError(t, err)
	web := cached(t, t.TempDir(), &counted{key: "a"})
	for range 3 {
		_, err = m.Wrap(web).Search(t.Context(), search.Query{Query: "x"})
		require.NoError(t, err)
	}
	mixed, err := search.NewMixture([]search.Searcher{named("google"), named("google")}, []float64{1, 1})
	require.NoError(t, err)
	for i := range 5 {
		d, err := m.Wrap(mixed).Search(t.Context(), search.Query{Stream: uint64(i)})
		require.NoError(t, err)
		require.Equal(t, "google", d.Engine)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = m.Wrap(named("bm25")).Search(cancelled, search.Query{})
	require.Error(t, err)

	by := m.Take()
	here := by["simulate_sft"]
	require.EqualValues(t, []int64{8, 0, 56, 24}, []int64{here.Queries, here.Cached, here.PromptTokens,
		here.CompletionTokens})
	require.Equal(t, 0.02, here.Seconds, "the time of searches at once counts once")
	require.InDelta(t, here.Seconds, here.USD, 1e-12) // a dollar a second
	require.InDelta(t, 0.08, here.GoogleUSD, 1e-12)
	require.InDelta(t, 10, by["remote"].USD, 1e-12)
	require.EqualValues(t, []int64{3, 2}, []int64{by["counted"].Queries, by["counted"].Cached})
	require.InDelta(t, 0.05, by["google"].USD, 1e-12)
	require.NotContains(t, by, "bm25x")
	require.Zero(t, by["bm25"].Queries, "a failed search is no answer")
	total := search.Sum(by)
	require.EqualValues(t, 17, total.Queries)
	require.InDelta(t, 0.17, total.GoogleUSD, 1e-12)
	require.Empty(t, m.Take(), "begun anew")

	var none *search.Meter
	d, err := none.Wrap(named("a")).Search(t.Context(), search.Query{})
	require.NoError(t, err)
	require.Equal(t, "a", d.Text)
	require.Empty(t, none.Take())
}
