package reward

import "slices"

// Shaping changes the reward of an episode by what the policy did on the way to its answer:
//
//	R = score - NoSearch [no turn searches] - NoAnswer [no answer] - Search (turns that search)
//	    + Retrieval [an accepted answer stands in a document that was returned]
//
// With the score F1 and NoSearch = NoAnswer = 0.1 it is F1+ of Search-R1++ (arXiv 2602.19526), against what F1 alone
// teaches there: to avoid an answer, because a wrong one earns no more than none. Search is a price a search; Retrieval
// rewards a query whose results contain what is asked for (Mentions). The zero value changes nothing.
type Shaping struct{ NoSearch, NoAnswer, Search, Retrieval float64 }

// Parts of a reward.
const (
	PartScore     = "score"
	PartFormat    = "format"
	PartNoSearch  = "no_search"
	PartNoAnswer  = "no_answer"
	PartSearch    = "search"
	PartRetrieval = "retrieval"
)

// parts are what s adds to the reward of a, without those whose weight is 0.
func (s Shaping) parts(a Attempt) map[string]float64 {
	searches := 0
	found := false
	for _, t := range a.Turns {
		if t.Action != "search" {
			continue
		}
		searches++
		found = found || slices.ContainsFunc(t.Documents, func(d string) bool { return Mentions(d, a.GoldenAnswers) })
	}
	out := map[string]float64{}
	put := func(name string, weight float64, times int) {
		if weight != 0 {
			out[name] = weight * float64(times)
		}
	}
	put(PartNoSearch, -s.NoSearch, one(searches == 0))
	put(PartNoAnswer, -s.NoAnswer, one(a.Answer == nil))
	put(PartSearch, -s.Search, searches)
	put(PartRetrieval, s.Retrieval, one(found))
	for name, v := range out {
		if v == 0 {
			out[name] = 0 // not -0
		}
	}
	return out
}

func one(is bool) int {
	if is {
		return 1
	}
	return 0
}

// Graded is the reward of an attempt. Parts are what it is the sum of, by name; nil if it is the score alone.
type Graded struct {
	Reward float64
	Parts  map[string]float64
}

// partOrder is the order in which parts are added up: a sum of floating-point numbers depends on it.
var partOrder = []string{PartScore, PartFormat, PartNoSearch, PartNoAnswer, PartSearch, PartRetrieval}

// grade is the reward of an attempt with a score.
func (r Reward) grade(a Attempt, score float64) Graded {
	if r.FormatWeight == 0 && r.Shaping == (Shaping{}) {
		return Graded{Reward: score}
	}
	g := Graded{Parts: r.Shaping.parts(a)}
	g.Parts[PartScore] = (1 - r.FormatWeight) * score
	if r.FormatWeight > 0 {
		g.Parts[PartFormat] = r.FormatWeight * Format(a)
	}
	for _, name := range partOrder {
		g.Reward += g.Parts[name]
	}
	return g
}
