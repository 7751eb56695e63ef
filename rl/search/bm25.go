package search

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// BM25 is an in-memory index over a fixed corpus (Robertson and Zaragoza 2009, "The Probabilistic Relevance
// Framework"):
//
//	score(d, q) = sum over the words w of q: idf(w) tf/(tf + K1 (1 - B + B |d|/avg)), idf = ln(1 + (N - df + 1/2)/(df + 1/2))
//
// with Lucene's defaults, K1 1.2 and B 0.75 (Lucene 8 on: without the constant factor K1 + 1). The function Terms
// defines what a word is.
type BM25 struct {
	// K1 and B are the constants of the formula; NewBM25 sets them.
	K1, B float64
	// TopK is the number of documents returned; NewBM25 sets 5.
	TopK int

	passages []string
	length   []float32        // [passages]: number of words
	mean     float64          // of length, at least 1
	terms    map[string]int32 // from a term to its index in posting
	posting  [][]posting      // [terms][passages with the term], in the order of the passages
	scratch  sync.Pool        // of *[]float64, [passages]: scores, all 0 between queries
}

// posting says how often a term stands in a passage.
type posting struct {
	doc int32   // index of the passage
	tf  float32 // term frequency
}

// NewBM25 indexes passages. Of passages with equal scores the earlier one ranks first.
func NewBM25(passages []string) *BM25 {
	x := &BM25{K1: 1.2, B: 0.75, TopK: 5, passages: passages, length: make([]float32, len(passages)),
		terms: map[string]int32{}}
	total := 0.0
	for i, p := range passages {
		for w, single := range Terms(p) {
			if !single {
				x.length[i]++
			}
			id, ok := x.terms[w]
			if !ok {
				id = int32(len(x.posting))
				x.terms[strings.Clone(w)] = id
				x.posting = append(x.posting, nil)
			}
			if ps := x.posting[id]; len(ps) > 0 && ps[len(ps)-1].doc == int32(i) {
				ps[len(ps)-1].tf++
			} else {
				x.posting[id] = append(ps, posting{int32(i), 1})
			}
		}
		total += float64(x.length[i])
	}
	x.mean = max(total/float64(max(len(passages), 1)), 1)
	x.scratch.New = func() any { s := make([]float64, len(passages)); return &s }
	return x
}

// Len is the number of passages.
func (x *BM25) Len() int { return len(x.passages) }

// Hit is a passage and its score.
type Hit struct {
	// Passage counts from 0 in the order given to NewBM25.
	Passage int
	// Score is BM25's, above 0.
	Score float64
}

// Find returns the k best passages, best first. Passages that share no word with the query are left out.
func (x *BM25) Find(query string, k int) []Hit {
	buf := x.scratch.Get().(*[]float64)
	score := *buf
	touched := []int32{}
	for w, single := range Terms(query) { // a word that the query holds twice counts twice
		id, ok := x.terms[w]
		if !ok || single {
			continue
		}
		ps := x.posting[id]
		df := float64(len(ps))
		idf := math.Log1p((float64(len(x.passages)) - df + 0.5) / (df + 0.5))
		for _, p := range ps {
			if score[p.doc] == 0 {
				touched = append(touched, p.doc)
			}
			tf := float64(p.tf)
			score[p.doc] += idf * tf / (tf + x.K1*(1-x.B+x.B*float64(x.length[p.doc])/x.mean))
		}
	}
	best := make([]Hit, 0, k+1)
	slices.Sort(touched)
	for _, d := range touched {
		h := Hit{int(d), score[d]}
		score[d] = 0
		if k <= 0 || len(best) == k && h.Score <= best[k-1].Score {
			continue
		}
		at, _ := slices.BinarySearchFunc(best, h, func(a, b Hit) int {
			if a.Score >= b.Score {
				return -1
			}
			return 1
		})
		best = slices.Insert(best, at, h)
		best = best[:min(len(best), k)]
	}
	x.scratch.Put(buf)
	return best
}

// Name is bm25.
func (x *BM25) Name() string { return "bm25" }

// Search returns the best passages, each as one line "Doc i: ...".
func (x *BM25) Search(ctx context.Context, q Query) (Documents, error) {
	if err := ctx.Err(); err != nil {
		return Documents{}, fmt.Errorf("searching the corpus: %w", err)
	}
	k := cmp.Or(q.TopK, x.TopK)
	order, err := x.Rank(ctx, q.Query, k)
	return inOrder(x.passages, order, k), err
}

// Numbered writes documents as simulators do: each after "Doc i: ", one below the other. Without documents it is
// NoInformation.
func Numbered(docs []string) string {
	if len(docs) == 0 {
		return NoInformation
	}
	lines := make([]string, len(docs))
	for i, d := range docs {
		lines[i] = "Doc " + strconv.Itoa(i+1) + ": " + d
	}
	return strip(strings.Join(lines, "\n"))
}
