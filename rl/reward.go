package rl

import (
	"context"
	"errors"
	"time"

	"github.com/zerosearch-go/zerosearch/rl/data"
	"github.com/zerosearch-go/zerosearch/rl/episode"
	"github.com/zerosearch-go/zerosearch/rl/reward"
)

// RewardConfig says how the reward that --reward names is computed.
type RewardConfig struct {
	FormatWeight float64       `name:"format-weight" help:"Share of the format in a reward format+NAME." default:"0.2"`
	Workers      int           `name:"reward-workers" resume:"free" help:"How many of a reward program (exec:PROGRAM) run at once; changes speed, never a result." default:"1"`
	Timeout      time.Duration `name:"reward-timeout" resume:"free" help:"Longest wait for one answer of a reward program." default:"1m"`
}

func (c RewardConfig) check() error {
	switch {
	case !(c.FormatWeight >= 0 && c.FormatWeight <= 1):
		return errors.New("--format-weight must lie between 0 and 1")
	case c.Workers < 0 || c.Timeout < 0:
		return errors.New("--reward-workers and --reward-timeout must not be negative")
	}
	return nil
}

// Open looks a reward up by name and starts its program, if it is one; end ends it.
func (c RewardConfig) Open(name string) (r reward.Reward, end func(), err error) {
	end = func() {}
	if r, err = reward.Lookup(name); err != nil {
		return r, end, err
	}
	if r.FormatWeight > 0 && c != (RewardConfig{}) { // the zero configuration has the default
		r.FormatWeight = c.FormatWeight
	}
	if p, ok := r.Scorer.(*reward.Program); ok {
		p.Workers, p.Timeout = c.Workers, c.Timeout
		err, end = p.Start(), func() { p.Close() }
	}
	return r, end, err
}

// score gives every episode of question i its reward; under a shuffled reward against the answers of another question.
func score(ctx context.Context, groups [][]*episode.Episode, questions []data.Question, rw reward.Reward, seed uint64) error {
	golds := make([][]string, len(questions))
	for i, q := range questions {
		golds[i] = q.GoldenAnswers
	}
	if rw.Shuffled {
		golds = reward.Others(golds, seed)
	}
	var attempts []reward.Attempt
	for i, g := range groups {
		for _, e := range g {
			a := attempt(e, questions[i])
			a.GoldenAnswers = golds[i]
			attempts = append(attempts, a)
		}
	}
	rewards, err := rw.Score(ctx, attempts)
	if err != nil {
		return err
	}
	for _, g := range groups {
		for _, e := range g {
			e.Reward, rewards = rewards[0], rewards[1:]
		}
	}
	return nil
}

// attempt is an episode as rewards see it.
func attempt(e *episode.Episode, q data.Question) reward.Attempt {
	a := reward.Attempt{QuestionID: q.ID, Question: q.Question, GoldenAnswers: q.GoldenAnswers, DataSource: q.DataSource, Status: string(e.Status),
		Turns: make([]reward.Turn, len(e.Turns)), Columns: q.Columns}
	if answer, ok := e.Answer(); ok {
		a.Answer = &answer
	}
	for i, t := range e.Turns {
		a.Turns[i] = reward.Turn{Prefill: t.Prefill, Text: t.Text, Action: string(t.Action), Documents: t.Documents}
		if t.Action == episode.Search {
			a.Turns[i].Query = t.Content
		}
	}
	return a
}
