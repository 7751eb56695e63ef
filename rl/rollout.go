package rl

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime/debug"

	"golang.org/x/sync/errgroup"

	"github.com/zerosearch-go/zerosearch/engine"
	"github.com/zerosearch-go/zerosearch/rl/data"
	"github.com/zerosearch-go/zerosearch/rl/episode"
	"github.com/zerosearch-go/zerosearch/rl/eval"
	"github.com/zerosearch-go/zerosearch/rl/search"
	"github.com/zerosearch-go/zerosearch/tokenizer"
)

// Purposes that the seed of a run is split into.
const (
	purposeTrain = 1 + iota
	purposeEval
	purposeAdapter
	purposeCritic
)

// Prompter turns a question into the ids that an episode begins with.
type Prompter struct {
	Tokenizer *tokenizer.Tokenizer
	Template  *tokenizer.Template
	MaxTokens int // longer prompts are an error; 0: no limit
}

// IDs renders ZeroSearch's policy prompt for q, or the row's own prompt column: messages, or text that is taken as it is, special tokens in
// it included, as a text prompt of sft is.
func (p Prompter) IDs(q data.Question) ([]int32, error) {
	if ownPrompt(q) == nil {
		return p.encode(q.ID, user(episode.Prompt(q.Question)))
	}
	row := data.Row{N: q.Row, Columns: q.Columns}
	var text string
	if ok, err := row.Get("prompt", &text); ok && err == nil {
		return p.bounded(q.ID, p.Tokenizer.Encode(text, tokenizer.EncodeOptions{AddSpecial: true, ParseSpecial: true}))
	}
	var own []tokenizer.Message
	if ok, err := row.Get("prompt", &own); !ok || err != nil || len(own) == 0 {
		return nil, fmt.Errorf("question %s: its prompt is neither text nor a list of messages", q.ID)
	}
	for i := range own {
		if err := own[i].JoinParts(); err != nil {
			return nil, fmt.Errorf("question %s: message %d of its prompt: %w", q.ID, i+1, err)
		}
	}
	return p.encode(q.ID, own)
}

func user(text string) []tokenizer.Message { return []tokenizer.Message{{Role: "user", Content: text}} }

// encode gives the ids of messages.
func (p Prompter) encode(id string, messages []tokenizer.Message) ([]int32, error) {
	ids, err := p.Tokenizer.EncodeChat(p.Template, tokenizer.ChatInput{Messages: messages, AddGenerationPrompt: true})
	if err != nil {
		return nil, fmt.Errorf("question %s: %w", id, err)
	}
	return p.bounded(id, ids)
}

// bounded refuses too many ids.
func (p Prompter) bounded(id string, ids []int32) ([]int32, error) {
	if p.MaxTokens > 0 && len(ids) > p.MaxTokens {
		return nil, fmt.Errorf("question %s has a prompt of %d tokens, more than the %d that fit: raise --max-start-length and --max-context or filter the question out", id, len(ids), p.MaxTokens)
	}
	return ids, nil
}

// ownPrompt is the row's column prompt, nil where it has none.
func ownPrompt(q data.Question) json.RawMessage {
	if own := q.Columns["prompt"]; string(own) != "null" {
		return own
	}
	return nil
}

// templateBytes bounds what a chat template puts around a prompt.
const templateBytes = 1024

// fits is false of a question whose prompt is too long.
func (p Prompter) fits(q data.Question) bool {
	if p.surelyFits(q) {
		return true
	}
	limit := p.MaxTokens
	p.MaxTokens = 0
	ids, err := p.IDs(q)
	return err != nil || len(ids) <= limit // what else is wrong with it, Check says
}

// surelyFits knows without encoding anything: no text has more tokens than bytes.
func (p Prompter) surelyFits(q data.Question) bool {
	bytes := len(episode.Prompt("")) + len(q.Question)
	if own := ownPrompt(q); own != nil {
		bytes = len(own)
	}
	return p.MaxTokens <= 0 || bytes+templateBytes <= p.MaxTokens
}

// Roller runs episodes, many at once. What they give depends on seeds only.
type Roller struct {
	Runner      episode.Runner
	Prompter    Prompter
	Concurrency int
	Success     float64                // the policy's, for the adaptive curriculum
	OnEpisode   func(*episode.Episode) // if not nil, called as each one ends, by several goroutines at once
	Method      eval.Method            // "": the search agent; baselines are for evaluation
}

// Roll runs n episodes for each question, those whose index is in only (nil: all); attempt counts resamplings. purpose and step key
// their randomness. The result has the episodes of question i at [i].
func (r *Roller) Roll(ctx context.Context, questions []data.Question, n int, only []int, seed uint64, purpose, step, total, attempt int,
	quality search.Quality) ([][]*episode.Episode, error) {
	out := make([][]*episode.Episode, len(questions))
	if only == nil {
		for i := range questions {
			only = append(only, i)
		}
	}
	ctx, f := newFuse(ctx)
	own := *r
	r = &own
	r.Runner.Searcher = f.over(r.Runner.Searcher)
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
			task := episode.Task{Step: step, TotalSteps: total, Group: i, Rollout: k, Attempt: attempt, QuestionID: q.ID, Question: q.Question,
				GoldenAnswers: q.GoldenAnswers, PromptIDs: prompt, Quality: quality, Success: r.Success,
				Seed: engine.Stream(seed, uint64(purpose), uint64(step), uint64(i), uint64(attempt), uint64(k))}
			g.Go(func() (err error) {
				out[i][k], err = r.run(ctx, task)
				return err
			})
		}
	}
	return out, f.blown(g.Wait())
}

// run runs one episode. A panic becomes an error: in a goroutine of its own nobody else could catch it.
func (r *Roller) run(ctx context.Context, task episode.Task) (e *episode.Episode, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("episode of question %s: %w", task.QuestionID, &engine.PanicError{Value: p, Stack: debug.Stack()})
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
