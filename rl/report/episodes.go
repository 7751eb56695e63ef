package report

import (
	"bytes"
	"cmp"
	"encoding/json"
	"slices"

	"github.com/zerosearch-go/zerosearch/rl/episode"
)

const (
	shown        = 4 // best and worst episodes of a step on the page
	browsed      = 8 // episodes of a step among those to browse
	perQuestion  = 2 // of them, of the same question
	browsedSteps = 8 // steps whose episodes can be browsed, at least, in a run that has so many
)

// stepEpisodes holds the best and the worst episodes of one step, each list with at most one episode for each question,
// and the first ones of each question.
type stepEpisodes struct {
	step        int
	count       int
	best, worst []candidate
	some        []candidate
}

// keptSteps are steps at equal distances, whose episodes can be browsed.
type keptSteps struct {
	steps  []*stepEpisodes
	seen   int // steps so far
	stride int // every how many of them one is kept; 0: 1
}

// add keeps a step that has begun, or not.
func (k *keptSteps) add(s *stepEpisodes) {
	k.stride = max(1, k.stride)
	if k.seen++; (k.seen-1)%k.stride != 0 {
		return
	}
	k.steps = append(k.steps, s)
	if len(k.steps) < 2*browsedSteps {
		return
	}
	k.stride *= 2
	for i := range browsedSteps {
		k.steps[i] = k.steps[2*i]
	}
	k.steps = k.steps[:browsedSteps]
}

// candidate is a line of episodes.jsonl with the values by which it is ranked.
type candidate struct {
	Step     int     `json:"step"`
	Question string  `json:"question_id"`
	Reward   float64 `json:"reward"`
	Turns    []struct {
		Action episode.Action `json:"action"`
	} `json:"turns"`
	order int
	line  []byte
}

// readEpisode keeps a line if its episode is among the best or the worst of the first or the latest step.
func (r *Run) readEpisode(line []byte) {
	c := candidate{order: r.count}
	if json.Unmarshal(line, &c) != nil {
		r.damaged++
		return
	}
	r.count++
	if r.first == nil {
		r.first = &stepEpisodes{step: c.Step}
		r.kept.add(r.first)
	}
	if r.last == nil || c.Step != r.last.step {
		if r.last = r.first; c.Step != r.first.step {
			r.last = &stepEpisodes{step: c.Step}
			r.kept.add(r.last)
		}
	}
	r.last.add(c, line)
}

func (s *stepEpisodes) add(c candidate, line []byte) {
	s.count++
	s.best = place(s.best, c, line, 1)
	s.worst = place(s.worst, c, line, -1)
	same := 0
	for _, o := range s.some {
		if o.Question == c.Question {
			same++
		}
	}
	if len(s.some) < browsed && same < perQuestion {
		c.line = bytes.Clone(line)
		s.some = append(s.some, c)
	}
}

// place inserts c into a list of at most shown episodes. The list is sorted by reward: falling for sign 1, rising for
// sign -1. Of equal rewards the episode with more turns comes first.
func place(list []candidate, c candidate, line []byte, sign int) []candidate {
	order := func(a, b candidate) int {
		return cmp.Or(sign*cmp.Compare(b.Reward, a.Reward), cmp.Compare(len(b.Turns), len(a.Turns)),
			cmp.Compare(a.order, b.order))
	}
	if i := slices.IndexFunc(list, func(o candidate) bool { return o.Question == c.Question }); i >= 0 {
		if order(list[i], c) <= 0 {
			return list
		}
		list = slices.Delete(list, i, i+1)
	}
	if at, _ := slices.BinarySearchFunc(list, c, order); at < shown {
		c.line = bytes.Clone(line) // the reader reuses its buffer
		list = slices.Insert(list, at, c)
	}
	return list[:min(len(list), shown)]
}

// pick gives up to n of the best and of the worst episodes. No episode is in both lists.
func (s *stepEpisodes) pick(n int) (best, worst []candidate) {
	n = min(n, (s.count+1)/2)
	best = s.best[:min(n, len(s.best))]
	for _, c := range s.worst {
		if len(worst) < n && !slices.ContainsFunc(best, func(b candidate) bool { return b.order == c.order }) {
			worst = append(worst, c)
		}
	}
	return best, worst
}
