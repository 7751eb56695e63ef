package search

import (
	"cmp"
	"context"
	"slices"
)

// fusionConstant is k of reciprocal rank fusion, as its authors chose it.
const fusionConstant = 60

// Fuse merges ranked lists, best first, by reciprocal rank fusion (Cormack, Clarke and Büttcher, SIGIR 2009):
//
//	score(d) = sum over the lists that hold d of 1/(60 + rank of d, from 1)
//
// Of items with equal scores the one that was met first, list by list, comes first.
func Fuse[T comparable](lists ...[]T) []T {
	score := map[T]float64{}
	var out []T
	for _, list := range lists {
		for i, d := range list {
			if _, met := score[d]; !met {
				out = append(out, d)
			}
			score[d] += 1 / float64(fusionConstant+i+1)
		}
	}
	slices.SortStableFunc(out, func(a, b T) int { return cmp.Compare(score[b], score[a]) })
	return out
}

// FollowUp searches for a question that follows another one: for the question itself and for both together, because
// "And when was it built?" names nothing that can be found. The two results are merged by Fuse.
type FollowUp struct {
	Engine Searcher
	// Before is what was asked before.
	Before string
}

// Name is the name of the engine.
func (f FollowUp) Name() string {
	if n, ok := f.Engine.(interface{ Name() string }); ok {
		return n.Name()
	}
	return "other"
}

// Search asks the engine twice and gives as many documents as its first result has.
func (f FollowUp) Search(ctx context.Context, q Query) (Documents, error) {
	d, err := f.Engine.Search(ctx, q)
	if err != nil || f.Before == "" {
		return d, err
	}
	q.Query = f.Before + " " + q.Query
	both, err := f.Engine.Search(ctx, q)
	if err != nil {
		return d, err
	}
	n := max(len(d.Docs), len(both.Docs))
	d.Docs = Fuse(d.Docs, both.Docs)
	d.Docs = d.Docs[:min(n, len(d.Docs))]
	d.Text = Numbered(d.Docs)
	d.PromptTokens, d.CompletionTokens = d.PromptTokens+both.PromptTokens, d.CompletionTokens+both.CompletionTokens
	return d, nil
}
