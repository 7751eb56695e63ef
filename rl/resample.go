package rl

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/zerosearch-go/zerosearch/engine"
	"github.com/zerosearch-go/zerosearch/rl/data"
	"github.com/zerosearch-go/zerosearch/rl/episode"
	"github.com/zerosearch-go/zerosearch/rl/rundir"
)

// sampled is what the rollouts of a step gave. A group is the rollouts of one question; it has a place in the batch.
// A group that cannot be trained on is rolled out again, or its place is given to another question: these are
// attempts at the place.
type sampled struct {
	groups   [][]*episode.Episode // by place: what is trained on, nil where nothing is
	last     [][]*episode.Episode // by place: the last attempt
	all      []*episode.Episode   // every episode that was run, in the order of attempts, places and rollouts
	counted  []*episode.Episode   // what metrics of answers, searches and lengths describe, and the adaptive curriculum follows
	attempts int                  // rounds of rollouts
	drawn    int                  // questions drawn in the run, where dynamic sampling draws more than a batch a step
}

// verdict says what becomes of a group.
type verdict uint8

const (
	keep   verdict = iota
	failed         // a search failed or the run was interrupted: an error of ours, never trained on
	equal          // zero variance: all rewards are the same, nothing to compare
)

func judge(group []*episode.Episode) verdict {
	v := equal
	for _, e := range group {
		if !e.Status.Trained() {
			return failed
		}
		if e.Reward != group[0].Reward {
			v = keep
		}
	}
	return v
}

// newSampled sorts the episodes of a step. Of every place the last attempt counts: attempts before it were discarded,
// whatever they were rewarded with. It does not count if a search failed in it, which says nothing about the policy.
// A zero-variance group that is dropped after its last attempt counts: the policy did answer so.
func newSampled(all []*episode.Episode, resamples bool) *sampled {
	s := &sampled{all: all}
	at := map[int][]*episode.Episode{}
	for _, e := range all {
		s.attempts = max(s.attempts, e.Attempt+1)
		g := at[e.Group]
		if len(g) > 0 && g[0].Attempt < e.Attempt {
			g = nil
		}
		if len(g) == 0 || g[0].Attempt == e.Attempt {
			at[e.Group] = append(g, e)
		}
	}
	var places []int
	for p := range at {
		places = append(places, p)
	}
	slices.Sort(places)
	for _, p := range places {
		g, v := at[p], judge(at[p])
		s.last = append(s.last, g)
		if v != failed {
			s.counted = append(s.counted, g...)
		}
		if v == failed || v == equal && resamples {
			g = nil
		}
		s.groups = append(s.groups, g)
	}
	return s
}

// metrics say how many groups and episodes were kept. Shares are of the batch.
func (s *sampled) metrics() rundir.Metrics {
	var dropped, same, failures float64
	for i, g := range s.last {
		v := judge(g)
		switch {
		case v == failed:
			failures++
			dropped++
		case s.groups[i] == nil:
			dropped++
		case v == equal:
			same++
		}
	}
	final := 0
	for _, g := range s.last {
		final += len(g)
	}
	n := float64(max(1, len(s.last)))
	return rundir.Metrics{"rollout/groups_dropped": dropped / n, "rollout/groups_failed": failures / n,
		"rollout/groups_equal": same / n,
		"rollout/episodes":     float64(len(s.all)), "rollout/episodes_discarded": float64(len(s.all) - final)}
}

// rollouts runs the episodes of a step. Groups that cannot be trained on are rolled out again, or with dynamic
// sampling replaced by those of new questions, a bounded number of times.
func (t *Trainer) rollouts(ctx context.Context, step int) (*sampled, error) {
	c := &t.Config
	at := t.place(step)
	questions := t.draw(at, c.Rollout.BatchSize)
	at += c.Rollout.BatchSize
	var s *sampled
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
			err = score(ctx, rolled, questions, t.Reward, engine.Stream(c.Schedule.Seed, purposeTrain, uint64(step)))
		}
		if err != nil {
			return nil, err
		}
		for _, g := range rolled {
			all = append(all, g...)
		}
		s = newSampled(all, c.Algo.Resamples())
		again = nil
		for i, g := range s.groups {
			if g == nil {
				again = append(again, i)
			}
		}
		if again == nil {
			break
		}
	}
	if c.Algo.DynamicSampling {
		s.drawn = at
	}
	return s, s.noneFound()
}

// roll runs the episodes of an attempt, or, where they are only to be checked, gives those that were recorded.
func (t *Trainer) roll(ctx context.Context, questions []data.Question, only []int, step,
	attempt int) ([][]*episode.Episode, error) {
	if t.recorded != nil {
		return t.recorded(ctx, questions, only, step, attempt)
	}
	c := &t.Config
	return t.roller().Roll(ctx, questions, c.Rollout.N, only, c.Schedule.Seed, purposeTrain, step, c.Schedule.TotalSteps,
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

// noneFound is the error of a step in which a search failed in the last attempt of every group: it would not go
// better at the next step. Where some groups were only equal, the step changes nothing and the run goes on.
func (s *sampled) noneFound() error {
	why := ""
	for _, g := range s.last {
		if judge(g) != failed {
			return nil
		}
		for _, e := range g {
			if e.Status == episode.SearchFailed {
				why = cmp.Or(why, e.Err)
			}
		}
	}
	return fmt.Errorf("in every group a search failed: %s", why)
}
