// Package reward scores an answer against the accepted answers ("golds"): token F1, exact match and containment after
// SQuAD's text normalisation (Rajpurkar et al. 2016, arXiv 1606.05250, official script 1.1). A reward is one of these
// scores, chosen by name, a Go function, or a program of the user. Package rl/episode extracts the answer from the
// policy's own tokens.
package reward

import "strings"

// EM is strict exact match: 1 if the normalised answer equals one of the normalised golds, else 0. A text that is empty
// after normalisation ("A", ")") is compared by its bare words instead (see canonical); a blank gold matches nothing.
func EM(answer string, golds []string) float64 {
	a := canonical(answer)
	for _, g := range golds {
		if g := canonical(g); g != "" && g == a {
			return 1
		}
	}
	return 0
}

// SubEM is containment: 1 if one of the normalised golds is a substring of the normalised answer, else 0. It compares
// characters ("one" is in "stone"). A gold that is empty after normalisation must be contained as complete words, and a
// blank gold is contained in nothing. Papers that call this measure "EM" report higher numbers than EM.
func SubEM(answer string, golds []string) float64 {
	a := Normalize(answer)
	for _, g := range golds {
		if n := Normalize(g); n != "" && strings.Contains(a, n) || n == "" && containsWords(answer, g) {
			return 1
		}
	}
	return 0
}

// F1 is the largest token F1 over the golds: 2 n/(|a| + |g|) with n the size of the multiset intersection of the words
// of answer and gold, after the same normalisation as EM's; 0 when they share none.
func F1(answer string, golds []string) float64 {
	best := 0.0
	a := strings.Fields(canonical(answer))
	for _, g := range golds {
		best = max(best, tokenF1(a, strings.Fields(canonical(g))))
	}
	return best
}

func tokenF1(a, g []string) float64 {
	count := make(map[string]int, len(g))
	for _, w := range g {
		count[w]++
	}
	same := 0
	for _, w := range a {
		if count[w] > 0 {
			count[w]--
			same++
		}
	}
	if same == 0 {
		return 0
	}
	// The script computes precision and recall first; doing the same gives the same bits.
	precision, recall := float64(same)/float64(len(a)), float64(same)/float64(len(g))
	return 2 * precision * recall / (precision + recall)
}

// Scores are the three measures of one answer. They are always reported together, whichever of them is the reward.
type Scores struct {
	EM    float64 `json:"em"`
	F1    float64 `json:"f1"`
	SubEM float64 `json:"sub_em"`
}

// Score measures an answer; an episode without an answer (answered false) scores 0 everywhere.
func Score(answer string, answered bool, golds []string) Scores {
	if !answered {
		return Scores{}
	}
	return Scores{EM: EM(answer, golds), F1: F1(answer, golds), SubEM: SubEM(answer, golds)}
}
