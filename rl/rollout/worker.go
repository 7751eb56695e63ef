// Package rollout is the acting half of a step: it deals questions to episodes, runs many at once, gives them rewards
// and sorts out which groups can be trained on.
package rollout

import (
	"context"
	"fmt"
	"runtime/debug"

	"golang.org/x/sync/errgroup"

	"github.com/zerosearch-go/zerosearch/engine"
	"github.com/zerosearch-go/zerosearch/rl/data"
	"github.com/zerosearch-go/zerosearch/rl/episode"
	"github.com/zerosearch-go/zerosearch/rl/eval"
	"github.com/zerosearch-go/zerosearch/rl/search"
)

// Worker runs episodes, many at once. What they give depends on seeds only.
type Worker struct {
	Runner      episode.Runner
	Prompter    Prompter
	Concurrency int
	Success     float64                // the policy's, for the adaptive curriculum
	OnEpisode   func(*episode.Episode) // if not nil, called as each one ends, by several goroutines at once
	Method      eval.Method            // "": the search agent; baselines are for evaluation
	// Message is the user message of a baseline; nil: Method.Prompt.
	Message func(question, documents string) string
}

// Roll runs n episodes for each question, those whose index is in only (nil: all); attempt counts resamplings. purpose
// and step key their randomness. The result has the episodes of question i at [i].
func (r *Worker) Roll(ctx context.Context, questions []data.Question, n int, only []int, seed uint64, purpose, step,
	total, attempt int,
	quality search.Quality) ([][]*episode.Episode, error) {
	out := make([][]*episode.Episode, len(questions))
	if only == nil {
		for i := range questions {
			only = append(only, i)
		}
	}
	ctx, f := newCircuitBreaker(ctx)
	own := *r
	r = &own
	r.Runner.Searcher = f.wrap(r.Runner.Searcher)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(max(1, r.Concurrency))
	for _, i := range only {
		q := questions[i]
		var prompt []int32
		if !r.Method.Baseline() {
			var err error
			if prompt, err = r.Prompter.IDs(q); err != nil {
				g.Go(func() error { return err })
				break
			}
		}
		out[i] = make([]*episode.Episode, n)
		for k := range n {
			task := episode.Task{Step: step, TotalSteps: total, Group: i, Rollout: k, Attempt: attempt,
				QuestionID: q.ID, Question: q.Question,
				GoldenAnswers: q.GoldenAnswers, Facts: q.Facts, PromptIDs: prompt, Quality: quality, Success: r.Success,
				Seed: engine.Stream(seed, uint64(purpose), uint64(step), uint64(i), uint64(attempt), uint64(k))}
			g.Go(func() (err error) {
				out[i][k], err = r.run(ctx, task)
				return err
			})
		}
	}
	return out, f.errorOf(g.Wait())
}

// run runs one episode. A panic becomes an error: no caller could recover it in a goroutine of its own.
func (r *Worker) run(ctx context.Context, task episode.Task) (e *episode.Episode, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("episode of question %s: %w", task.QuestionID,
				&engine.PanicError{Value: p, Stack: debug.Stack()})
		}
	}()
	if r.Method.Baseline() {
		e, err = r.baseline(ctx, task)
	} else {
		e, err = r.Runner.Run(ctx, task)
	}
	if err == nil && r.OnEpisode != nil {
		r.OnEpisode(e)
	}
	return e, err
}
