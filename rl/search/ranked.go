package search

import (
	"cmp"
	"context"
	"fmt"
	"strings"
)

// Ranker orders passages by their relevance to a query. It may be used by many goroutines at once.
type Ranker interface {
	// Rank gives the indices of the k best passages, best first.
	Rank(ctx context.Context, query string, k int) ([]int, error)
}

// Rank gives the indices of the k best passages.
func (x *BM25) Rank(_ context.Context, query string, k int) ([]int, error) {
	var out []int
	for _, h := range x.Find(query, k) {
		out = append(out, h.Passage)
	}
	return out, nil
}

// fusionDepth is how many passages of each ranker are fused.
const fusionDepth = 100

// Ranked searches passages by one ranker, or by several, whose orders Fuse merges.
type Ranked struct {
	// Label is the name of the engine: dense or hybrid.
	Label    string
	Passages []string
	Rankers  []Ranker
	// TopK is the number of documents returned.
	TopK int
}

// Name is the label.
func (r *Ranked) Name() string { return r.Label }

// Search returns the best passages, each as one line "Doc i: ...".
func (r *Ranked) Search(ctx context.Context, q Query) (Documents, error) {
	k := cmp.Or(q.TopK, r.TopK)
	depth := k
	if len(r.Rankers) > 1 {
		depth = max(depth, fusionDepth)
	}
	var lists [][]int
	for _, ranker := range r.Rankers {
		list, err := ranker.Rank(ctx, q.Query, depth)
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return Documents{}, fmt.Errorf("searching the corpus: %w", err)
		}
		lists = append(lists, list)
	}
	return inOrder(r.Passages, Fuse(lists...), k), nil
}

// inOrder gives the first k passages of an order of their indices, each on one line. Passages without text are left
// out.
func inOrder(passages []string, order []int, k int) Documents {
	docs := []string{}
	for _, i := range order {
		if len(docs) == k {
			break
		}
		if d := strings.Join(strings.Fields(passages[i]), " "); d != "" {
			docs = append(docs, d)
		}
	}
	return Documents{Text: Numbered(docs), Docs: docs}
}
