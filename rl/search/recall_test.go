package search_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/internal/goldens"
	"github.com/zerosearch-go/zerosearch/rl/data"
	"github.com/zerosearch-go/zerosearch/rl/reward"
	"github.com/zerosearch-go/zerosearch/rl/search"
)

// Recall at 5 on the shared English corpus: for how many questions one of five passages contains an answer. The
// rules for other languages must not lower it.
func TestBM25Recall(t *testing.T) {
	x, err := search.LoadBM25(goldens.Data(t, "contexts/corpus.jsonl.gz"))
	require.NoError(t, err)
	for set, least := range map[string]float64{"squad.xquad_en": 0.9611, "nq.test": 0.7069} {
		qs, err := data.Load(goldens.Data(t, "qa/"+set+".jsonl.gz"))
		require.NoError(t, err)
		found := 0.0
		for _, q := range qs {
			d, err := x.Search(t.Context(), search.Query{Query: q.Question})
			require.NoError(t, err)
			found += reward.SubEM(d.Text, q.GoldenAnswers)
		}
		t.Logf("%s: %.5f of %d", set, found/float64(len(qs)), len(qs))
		require.GreaterOrEqual(t, found/float64(len(qs)), least, set)
	}
}
