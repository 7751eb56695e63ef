package rollout

import (
	"context"

	"github.com/zerosearch-go/zerosearch/engine"
	"github.com/zerosearch-go/zerosearch/rl/config"
	"github.com/zerosearch-go/zerosearch/rl/data"
	"github.com/zerosearch-go/zerosearch/rl/episode"
	"github.com/zerosearch-go/zerosearch/rl/eval"
	"github.com/zerosearch-go/zerosearch/rl/search"
)

// Evaluate runs one episode a question, in order; the zero sampling is greedy. step is recorded, and keys what is
// drawn.
func (r Worker) Evaluate(ctx context.Context, questions []data.Question, sampling episode.Sampling, seed uint64,
	step int) ([]*episode.Episode, error) {
	return r.EvaluateRest(ctx, questions, make([]*episode.Episode, len(questions)), sampling, seed, step)
}

// EvaluateRest is Evaluate for the questions i whose done[i] is nil: it goes on with an evaluation that was
// interrupted.
func (r Worker) EvaluateRest(ctx context.Context, questions []data.Question, done []*episode.Episode,
	sampling episode.Sampling, seed uint64, step int) ([]*episode.Episode, error) {
	r.Runner.Config.Sampling = sampling
	r.Success = 1 // an adaptive curriculum would make each evaluation another one: all see its end
	rest := []int{}
	for i, e := range done {
		if e == nil {
			rest = append(rest, i)
		}
	}
	groups, err := r.Roll(ctx, questions, 1, rest, seed, config.PurposeEval, step, max(step, 1), 0, "")
	if err != nil {
		return nil, err
	}
	all := append([]*episode.Episode(nil), done...)
	for _, i := range rest {
		all[i] = groups[i][0]
	}
	return all, nil
}

// Measured gives the function Run of an eval.Measurement: it runs episodes of a method with r and the sampling and seed
// given.
func (r Worker) Measured(sampling episode.Sampling, seed uint64) func(ctx context.Context, m eval.Method,
	questions []data.Question, done []*episode.Episode, each func(*episode.Episode)) ([]*episode.Episode, error) {
	return func(ctx context.Context, m eval.Method, questions []data.Question, done []*episode.Episode,
		each func(*episode.Episode)) ([]*episode.Episode, error) {
		worker := r
		worker.Method, worker.OnEpisode = m, each
		return worker.EvaluateRest(ctx, questions, done, sampling, seed, 0)
	}
}

// baseline runs an episode of one turn with a prompt of the method's. What RAG retrieved is recorded as a turn of its
// own without ids.
func (r *Worker) baseline(ctx context.Context, task episode.Task) (*episode.Episode, error) {
	runner := r.Runner
	runner.Config.MaxTurns = 0
	var documents string
	var retrieved []episode.Turn
	if r.Method.Searches() {
		t := episode.Turn{Action: episode.Search, Content: task.Question}
		text, status, failure := t.Search(ctx, runner.Searcher,
			search.Query{Query: task.Question, Question: task.Question, GoldenAnswers: task.GoldenAnswers,
				Facts: task.Facts, Step: task.Step, TotalSteps: task.TotalSteps, Quality: task.Quality,
				Stream: engine.Stream(task.Seed, config.PurposeEval)})
		documents, retrieved = text, []episode.Turn{t}
		if status != "" {
			return &episode.Episode{Step: task.Step, Group: task.Group, QuestionID: task.QuestionID,
				Question: task.Question, GoldenAnswers: task.GoldenAnswers,
				Status: status, Err: failure, Turns: retrieved}, nil
		}
	}
	var err error
	if task.PromptIDs, err = r.baselinePrompt(task, documents); err != nil {
		return nil, err
	}
	e, err := runner.Run(ctx, task)
	if err == nil {
		e.Turns = append(retrieved, e.Turns...)
	}
	return e, err
}

// baselinePrompt shortens the documents, as it must, to the longest observation and to the room beside the response.
func (r *Worker) baselinePrompt(task episode.Task, documents string) ([]int32, error) {
	c := r.Runner.Config
	p, message := r.Prompter, r.Message
	if message == nil {
		message = r.Method.Prompt
	}
	p.MaxTokens = max(c.MaxContext-c.MaxResponse, c.MaxContext/2)
	keep := len(documents) // no text has more ids than bytes
	if c.MaxObservation > 0 {
		keep = min(keep, c.MaxObservation)
	}
	for {
		documents = episode.Shorten(r.Runner.Tokenizer, documents, keep)
		ids, err := p.encode(task.QuestionID, user(message(task.Question, documents)))
		if err == nil || documents == "" {
			return ids, err
		}
		keep = min(keep, len(documents)) * 3 / 4
	}
}

// SourceReport are the scores of one data source, or of several.
type SourceReport = eval.Row

// Report sums up the agent's episodes, sources[i] being the data source of episode i; the last row is that of all.
func Report(all []*episode.Episode, sources []string) []SourceReport {
	results := make([]eval.Result, len(all))
	for i, e := range all {
		results[i] = eval.Grade(eval.Agent, e, sources[i])
	}
	return eval.Report(results, eval.Bootstrap{})
}
