package rl

import (
	"context"

	"github.com/zerosearch-go/zerosearch/engine"
	"github.com/zerosearch-go/zerosearch/rl/config"
	"github.com/zerosearch-go/zerosearch/rl/data"
	"github.com/zerosearch-go/zerosearch/rl/episode"
	"github.com/zerosearch-go/zerosearch/rl/rollout"
)

// rollouts runs the episodes of a step. Groups that cannot be trained on are rolled out again, or with dynamic
// sampling replaced by those of new questions, a bounded number of times.
func (t *Trainer) rollouts(ctx context.Context, step int) (*rollout.Sampled, error) {
	c := &t.Config
	at := t.place(step)
	questions := t.draw(at, c.Rollout.BatchSize)
	at += c.Rollout.BatchSize
	var s *rollout.Sampled
	var all []*episode.Episode
	var again []int // nil: every place
	for attempt := range c.Attempts() {
		if attempt > 0 && c.Algo.DynamicSampling {
			for k, q := range t.draw(at, len(again)) {
				questions[again[k]] = q
			}
			at += len(again)
		}
		rolled, err := t.roll(ctx, questions, again, step, attempt)
		if err == nil {
			err = ctx.Err() // it cut episodes short
		}
		if err == nil {
			err = rollout.Score(ctx, rolled, questions, t.Reward,
				engine.Stream(c.Schedule.Seed, config.PurposeTrain, uint64(step)))
		}
		if rolled, err = t.shareGroups(rolled, err); err != nil {
			return nil, err
		}
		for _, g := range rolled {
			all = append(all, g...)
		}
		s = rollout.NewSampled(all, c.Algo.Resamples())
		again = nil
		for i, g := range s.Groups {
			if g == nil {
				again = append(again, i)
			}
		}
		if again == nil {
			break
		}
	}
	if c.Algo.DynamicSampling {
		s.Drawn = at
	}
	return s, s.AllSearchesFailed()
}

// roll runs the episodes of an attempt, or, where they are only to be checked, gives those that were recorded.
func (t *Trainer) roll(ctx context.Context, questions []data.Question, only []int, step,
	attempt int) ([][]*episode.Episode, error) {
	if t.recorded != nil {
		return t.recorded(ctx, questions, only, step, attempt)
	}
	c := &t.Config
	w := t.worker()
	n := len(questions)
	if only = t.own(only, n); only != nil {
		n = len(only)
	}
	t.count(w, step, PhaseRollout, 0, n*c.Rollout.N)
	return w.Roll(ctx, questions, c.Rollout.N, only, c.Schedule.Seed, config.PurposeTrain, step,
		c.Schedule.TotalSteps,
		attempt, "")
}

// place is how many questions were drawn before a step.
func (t *Trainer) place(step int) int {
	at := (step - 1) * t.Config.Rollout.BatchSize
	if t.Config.Algo.DynamicSampling {
		at = max(at, t.state.Drawn)
	}
	return at
}

// draw gives n questions from a place of the sequence on.
func (t *Trainer) draw(at, n int) (out []data.Question) {
	all := t.Data.Train.Questions
	s := data.Sampler{N: len(all), Seed: t.Config.Schedule.Seed, InOrder: t.Config.Data.NoShuffle,
		Parts: t.Data.Train.Parts}
	for _, i := range s.Draw(at, n) {
		out = append(out, all[i])
	}
	return out
}
