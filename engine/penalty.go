package engine

import (
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/zerosearch-go/zerosearch/kernels"
)

// Penalties change the logits before sampling, in this order: bias, repetition, frequency and presence, MinTokens.
// Reported log-probabilities do not include them.
type Penalties struct {
	// LogitBias is added to the logit of an id.
	LogitBias map[int32]float64
	// Repetition divides the logit of every id that is in the prompt or was generated, where it is positive, and
	// multiplies it where it is negative (arXiv 1909.05858). 0 and 1: off.
	Repetition float64
	// A generated id loses Frequency for every time it was generated, and Presence once (OpenAI's formula). Negative:
	// it gains.
	Frequency, Presence float64
	// MinTokens is the number of tokens that are generated before an id of EOS may be sampled.
	MinTokens int
}

// check refuses what is no penalty for a model with so many ids, of which some are never sampled.
func (p *Penalties) check(vocab int, never, eos []int32) error {
	finite := func(x float64) bool { return math.Abs(x) <= math.MaxFloat32 } // not of NaN
	for _, id := range slices.Sorted(maps.Keys(p.LogitBias)) {
		if id < 0 || int(id) >= vocab || !finite(p.LogitBias[id]) {
			return fmt.Errorf("a bias of %v for id %d: give finite numbers and ids from 0 to %d", p.LogitBias[id], id,
				vocab-1)
		}
	}
	switch {
	case !(p.Repetition >= 0 && finite(p.Repetition)) || p.Repetition > 0 && float32(p.Repetition) == 0:
		return fmt.Errorf("a repetition penalty of %v: it must be above 0; 1 is off", p.Repetition)
	case !finite(p.Frequency) || !finite(p.Presence):
		return fmt.Errorf("a frequency penalty of %v, a presence penalty of %v: give finite numbers", p.Frequency,
			p.Presence)
	case p.MinTokens < 0:
		return fmt.Errorf("at least %d tokens: ask for 0 or more", p.MinTokens)
	case p.MinTokens > 0 && covers(slices.Concat(eos, never), vocab):
		return fmt.Errorf("at least %d tokens: every token of the model ends the request", p.MinTokens)
	}
	return nil
}

// covers reports whether all of n ids are among ids.
func covers(ids []int32, n int) bool {
	if len(ids) < n {
		return false
	}
	seen := map[int32]bool{}
	for _, id := range ids {
		seen[id] = id >= 0 && int(id) < n
	}
	count := 0
	for _, in := range seen {
		if in {
			count++
		}
	}
	return count == n
}

// adjuster keeps the adjustments of a generation up to date. Its size is that of the ids concerned, not of the
// vocabulary.
type adjuster struct {
	*Penalties
	list   []kernels.Adjustment // each id once
	times  []int                // of list: how often it was generated
	place  map[int32]int        // in list
	barred []int32              // until MinTokens are generated
	taken  int
}

// newAdjuster is the state before the first token; nil where nothing is to be adjusted.
func newAdjuster(p *Penalties, vocab int, eos, prompt []int32) *adjuster {
	a := &adjuster{Penalties: p, place: map[int32]int{}}
	for _, id := range slices.Sorted(maps.Keys(p.LogitBias)) {
		a.of(id).Add = float32(p.LogitBias[id])
	}
	if a.repeats() {
		for _, id := range prompt {
			a.of(id).Scale = float32(p.Repetition)
		}
	}
	if p.MinTokens > 0 {
		for _, id := range eos {
			if id >= 0 && int(id) < vocab {
				a.barred = append(a.barred, id)
				a.of(id).Add = float32(math.Inf(-1))
			}
		}
	}
	if len(a.list) == 0 && !a.repeats() && p.Frequency == 0 && p.Presence == 0 {
		return nil
	}
	return a
}

// settled reports whether further ids change nothing.
func (a *adjuster) settled() bool {
	return !a.repeats() && a.Frequency == 0 && a.Presence == 0 && a.taken >= a.MinTokens
}

func (a *adjuster) repeats() bool { return a.Repetition != 0 && a.Repetition != 1 }

// of is the adjustment of id, a new one the first time.
func (a *adjuster) of(id int32) *kernels.Adjustment {
	i, ok := a.place[id]
	if !ok {
		i = len(a.list)
		a.place[id] = i
		a.list, a.times = append(a.list, kernels.Adjustment{ID: id}), append(a.times, 0)
	}
	return &a.list[i]
}

// take counts a generated id.
func (a *adjuster) take(id int32) {
	if a.repeats() || a.Frequency != 0 || a.Presence != 0 {
		x := a.of(id)
		n := &a.times[a.place[id]]
		*n++
		if x.Sub = float32(a.Frequency*float64(*n) + a.Presence); a.repeats() {
			x.Scale = float32(a.Repetition)
		}
	}
	if a.taken++; a.taken == a.MinTokens {
		for _, id := range a.barred {
			a.of(id).Add = float32(a.LogitBias[id])
		}
	}
}
