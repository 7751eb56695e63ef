package search_test

import (
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/internal/goldens"
	"github.com/zerosearch-go/zerosearch/rl/data"
	"github.com/zerosearch-go/zerosearch/rl/search"
)

// BenchmarkBM25 builds the index of the shared English corpus, and asks it the questions of XQuAD. heap-MB is what the
// index keeps.
func BenchmarkBM25(b *testing.B) {
	c, err := search.ReadCorpus(goldens.Data(b, "contexts/corpus.jsonl.gz"))
	require.NoError(b, err)
	qs, err := data.Load(goldens.Data(b, "qa/squad.xquad_en.jsonl.gz"))
	require.NoError(b, err)
	var x *search.BM25
	b.Run("build", func(b *testing.B) {
		size := 0
		for _, p := range c.Passages {
			size += len(p)
		}
		b.SetBytes(int64(size))
		before := heap()
		for b.Loop() {
			x = search.NewBM25(c.Passages)
		}
		b.ReportMetric(float64(heap()-before)/1e6, "heap-MB")
	})
	b.Run("find", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			x.Find(qs[i%len(qs)].Question, 5)
		}
	})
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
