package report

import (
	"bytes"
	"cmp"
	"encoding/json"
	"slices"

	"github.com/zerosearch-go/zerosearch/rl/episode"
)

// shown is how many of the best and of the worst episodes of a step the page has.
const shown = 4

// stepEpisodes are the best and the worst episodes of one step, a question once in each.
type stepEpisodes struct {
	step        int
	count       int
	best, worst []candidate
}

// candidate is a line of episodes.jsonl with what it is chosen by.
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

// readEpisode keeps a line if it is among the best or the worst of the first or of the latest step.
func (r *Run) readEpisode(line []byte) {
	c := candidate{order: r.count}
	if json.Unmarshal(line, &c) != nil {
		r.damaged++
		return
	}
	r.count++
	if r.first == nil {
		r.first = &stepEpisodes{step: c.Step}
	}
	if r.last == nil || c.Step != r.last.step {
		if r.last = r.first; c.Step != r.first.step {
			r.last = &stepEpisodes{step: c.Step}
		}
	}
	r.last.add(c, line)
}

func (s *stepEpisodes) add(c candidate, line []byte) {
	s.count++
	s.best = place(s.best, c, line, 1)
	s.worst = place(s.worst, c, line, -1)
}

// place puts c into a list that is sorted by reward, falling for sign 1 and rising for -1; where rewards are equal more turns tell more.
func place(list []candidate, c candidate, line []byte, sign int) []candidate {
	order := func(a, b candidate) int {
		return cmp.Or(sign*cmp.Compare(b.Reward, a.Reward), cmp.Compare(len(b.Turns), len(a.Turns)), cmp.Compare(a.order, b.order))
	}
	if i := slices.IndexFunc(list, func(o candidate) bool { return o.Question == c.Question }); i >= 0 {
		if order(list[i], c) <= 0 {
			return list
		}
		list = slices.Delete(list, i, i+1)
	}
	if at, _ := slices.BinarySearchFunc(list, c, order); at < shown {
		c.line = bytes.Clone(line) // the reader's buffer moves on
		list = slices.Insert(list, at, c)
	}
	return list[:min(len(list), shown)]
}

// pick gives up to n episodes of each kind; none is in both lists.
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
