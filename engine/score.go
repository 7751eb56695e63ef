package engine

import (
	"context"
	"fmt"
	"math"

	"github.com/zerosearch-go/zerosearch/model"
)

// ScoreOptions say what is wanted of a text. The zero value: everything after the first token, at temperature 1.
type ScoreOptions struct {
	// score tokens From..; what is before may come from the cache. 0: 1, as the first token is not predicted
	From    int
	InvTemp float32 // 1/temperature. 0: 1
	TopK    int     // so many of the most likely tokens after the last one
	TopEach int     // so many of the most likely tokens in the place of each scored one
	Ranks   bool    // also the rank of each scored token
}

// TokenLogprob is a token and the natural logarithm of its probability.
type TokenLogprob struct {
	ID      int32
	Logprob float32
}

// Scores is what a model thinks of a text.
type Scores struct {
	Logprobs []float32 // Logprobs[i] = ln p(ids[From+i] | ids[:From+i])
	Entropy  []float32 // of the distribution that predicts ids[From+i], nats
	Top      []TokenLogprob
	TopEach  [][]TokenLogprob // TopEach[i] are the most likely tokens in the place of ids[From+i]
	Ranks    []int32          // Ranks[i] tokens are at least as likely as ids[From+i], itself included

	CachedTokens int
}

// Score gives the log-probabilities of ids, in one pass with whatever else is pending. They are the bits that
// Generate returned when it sampled these ids, and that training gets.
func (e *Engine) Score(ctx context.Context, model string, a *model.Adapter, ids []int32, o ScoreOptions) (Scores,
	error) {
	j, err := e.scoring(model, a, ids, o)
	if err != nil {
		return Scores{}, fmt.Errorf("scoring with %s: %w", model, err)
	}
	if j.q.target == 0 {
		return j.scores, nil
	}
	if err := e.await(ctx, j); err != nil {
		return Scores{}, fmt.Errorf("scoring with %s: %w", model, err)
	}
	if at := j.noNumber(); at >= 0 {
		return Scores{}, fmt.Errorf("scoring with %s: the model gave no number at position %d: its weights are damaged",
			model, at)
	}
	j.scores.CachedTokens = j.q.cached
	j.sameNumbers(ids)
	return j.scores, nil
}

// sameNumbers gives a scored token the same log-probability among the most likely ones, where rounding may differ.
func (j *job) sameNumbers(ids []int32) {
	for i, top := range j.scores.TopEach {
		for k := range top {
			if top[k].ID == ids[j.from+i] {
				top[k].Logprob = j.scores.Logprobs[i]
			}
		}
	}
}

// noNumber is the first position that is predicted with NaN, or -1.
func (j *job) noNumber() int {
	for i, lp := range j.scores.Logprobs {
		if lp != lp {
			return j.from + i
		}
	}
	for _, top := range j.scores.Top {
		if top.Logprob != top.Logprob {
			return len(j.q.ids)
		}
	}
	return -1
}

func (e *Engine) scoring(name string, a *model.Adapter, ids []int32, o ScoreOptions) (*job, error) {
	j, err := e.newJob(name, a, ids)
	if err != nil {
		return nil, err
	}
	if o.From < 0 || o.From > len(ids) || o.TopK < 0 || o.TopEach < 0 ||
		!(o.InvTemp >= 0 && o.InvTemp <= math.MaxFloat32) {
		return nil, fmt.Errorf("from %d of %d tokens, top-k %d, top of each %d, 1/temperature %v: out of range", o.From,
			len(ids), o.TopK, o.TopEach, o.InvTemp)
	}
	if j.invTemp = o.InvTemp; o.InvTemp == 0 {
		j.invTemp = 1
	}
	j.from, j.topK, j.topEach = max(o.From, 1), o.TopK, o.TopEach
	n := len(ids) - j.from
	j.scores.Logprobs, j.scores.Entropy = make([]float32, n), make([]float32, n)
	if o.TopEach > 0 {
		j.scores.TopEach = make([][]TokenLogprob, n)
	}
	if o.Ranks {
		j.scores.Ranks = make([]int32, n)
	}
	q := j.q
	q.scores, q.reuse = true, j.from-1
	if o.TopK == 0 {
		q.target = len(ids) - 1
	}
	if n == 0 && o.TopK == 0 {
		q.target = 0
	}
	return j, nil
}
