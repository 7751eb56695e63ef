package rollout

import (
	"context"

	"github.com/zerosearch-go/zerosearch/rl/config"
	"github.com/zerosearch-go/zerosearch/rl/data"
	"github.com/zerosearch-go/zerosearch/rl/episode"
	"github.com/zerosearch-go/zerosearch/rl/reward"
)

// OpenReward looks a reward up by name and starts its program, if it is one; end ends it.
func OpenReward(c config.Reward, name string) (r reward.Reward, end func(), err error) {
	end = func() {}
	if r, err = reward.Lookup(name); err != nil {
		return r, end, err
	}
	if r.FormatWeight > 0 && c != (config.Reward{}) { // the zero configuration has the default
		r.FormatWeight = c.FormatWeight
	}
	r.Shaping = reward.Shaping{NoSearch: c.NoSearchPenalty, NoAnswer: c.NoAnswerPenalty, Search: c.SearchPenalty,
		Retrieval: c.RetrievalBonus}
	if p, ok := r.Scorer.(*reward.Program); ok {
		p.Workers, p.Timeout = c.Workers, c.Timeout
		err, end = p.Start(), func() { p.Close() }
	}
	return r, end, err
}

// Score gives every episode of question i its reward; under a shuffled reward against the answers of another question.
func Score(ctx context.Context, groups [][]*episode.Episode, questions []data.Question, rw reward.Reward,
	seed uint64) error {
	golds := make([][]string, len(questions))
	for i, q := range questions {
		golds[i] = q.GoldenAnswers
	}
	if rw.Shuffled {
		golds = reward.ShuffledGolds(golds, seed)
	}
	var attempts []reward.Attempt
	for i, g := range groups {
		for _, e := range g {
			a := attempt(e, questions[i])
			a.GoldenAnswers = golds[i]
			attempts = append(attempts, a)
		}
	}
	graded, err := rw.Grade(ctx, attempts)
	if err != nil {
		return err
	}
	for _, g := range groups {
		for _, e := range g {
			e.Reward, e.RewardParts, graded = graded[0].Reward, graded[0].Parts, graded[1:]
		}
	}
	return nil
}

// attempt is an episode as rewards see it.
func attempt(e *episode.Episode, q data.Question) reward.Attempt {
	a := reward.Attempt{QuestionID: q.ID, Question: q.Question, GoldenAnswers: q.GoldenAnswers,
		DataSource: q.DataSource, Status: string(e.Status),
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
