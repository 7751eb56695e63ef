package data

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"strings"
)

// Keep drops the questions for which ok is false and returns their number. It is an error if no question of the set, or
// of a file of a mixture, is left; why names the filter in that error.
func (s *Set) Keep(why string, ok func(Question) bool) (dropped int, err error) {
	before := len(s.Questions)
	kept := s.Questions[:0:0]
	for _, q := range s.Questions {
		if ok(q) {
			kept = append(kept, q)
		}
	}
	if len(kept) == 0 {
		return before, fmt.Errorf("choosing questions: none of %d is left after %s: use a less strict filter", before,
			why)
	}
	s.Questions = kept
	return before - len(kept), s.recount(why)
}

// recount computes the sizes of a mixture's parts after questions were dropped.
func (s *Set) recount(why string) error {
	for i := range s.Parts {
		s.Parts[i].N = 0
		for _, q := range s.Questions {
			if q.File == s.Parts[i].File {
				s.Parts[i].N++
			}
		}
		if s.Parts[i].N == 0 {
			return fmt.Errorf(
				"choosing questions: none of %s is left after %s: use a less strict filter, or leave the file out",
				s.Parts[i].File, why)
		}
	}
	return nil
}

// FromSources keeps the questions of the named data sources.
func (s *Set) FromSources(names []string) error {
	if len(names) == 0 {
		return nil
	}
	var known []string
	for _, q := range s.Questions {
		if !slices.Contains(known, q.DataSource) {
			known = append(known, q.DataSource)
		}
	}
	for _, n := range names {
		if !slices.Contains(known, n) {
			slices.Sort(known)
			return fmt.Errorf("choosing questions: no data source is called %q: there are %s", n,
				strings.Join(known, ", "))
		}
	}
	_, err := s.Keep("--sources", func(q Question) bool { return slices.Contains(names, q.DataSource) })
	return err
}

// ShortAnswers keeps the questions with an accepted answer of at most words words, and returns how many questions were
// dropped. A policy hardly ever matches a long answer exactly, and seldom reaches a high F1 with it.
func (s *Set) ShortAnswers(words int) (dropped int, err error) {
	if words <= 0 {
		return 0, nil
	}
	return s.Keep(fmt.Sprintf("--max-answer-words %d", words), func(q Question) bool {
		return slices.ContainsFunc(q.GoldenAnswers, func(a string) bool { return len(strings.Fields(a)) <= words })
	})
}

// Split removes held-out questions from the set and returns them. holdOut is their number or, below 1, their share of
// all questions. Which questions are held out depends only on their texts, not on the seed or on the order. Rows with
// the same question are either all held out or all kept. So runs stay comparable, and no held-out question is trained
// on.
func (s *Set) Split(holdOut float64) (held []Question, err error) {
	n := int(holdOut)
	if holdOut < 1 {
		n = int(math.Round(holdOut * float64(len(s.Questions))))
	}
	if !(holdOut > 0) || n < 1 || n >= len(s.Questions) {
		return nil, fmt.Errorf("splitting %d questions: %v of them cannot be held out: give a number of questions, "+
			"or a share between 0 and 1", len(s.Questions), holdOut)
	}
	keys := make([]uint64, len(s.Questions))
	for i, q := range s.Questions {
		keys[i] = key(q.Question)
	}
	limit := slices.Sorted(slices.Values(keys))[n-1]
	var rest []Question
	for i, q := range s.Questions {
		if keys[i] <= limit {
			held = append(held, q)
		} else {
			rest = append(rest, q)
		}
	}
	if len(rest) == 0 {
		return nil, fmt.Errorf("splitting %d questions: all of them ask the same: there is nothing to hold out",
			len(s.Questions))
	}
	s.Questions = rest
	return held, s.recount("the held-out questions were taken")
}

// key is a hash of the words of a question. Case, white space and the final question mark make no difference.
func key(question string) uint64 {
	words := strings.Fields(strings.ToLower(strings.TrimRight(question, "? ")))
	h := sha256.Sum256([]byte(strings.Join(words, " ")))
	return binary.BigEndian.Uint64(h[:])
}

// PerSource keeps the first n questions of every data source; 0 keeps all.
func PerSource(questions []Question, n int) []Question {
	if n <= 0 {
		return questions
	}
	seen := map[string]int{}
	var out []Question
	for _, q := range questions {
		if seen[q.DataSource]++; seen[q.DataSource] <= n {
			out = append(out, q)
		}
	}
	return out
}

// Digest is a hash of everything that a run draws from: questions, answers, the column prompt, their order and the
// weights. It detects that a run is resumed with other data.
func (s *Set) Digest() string {
	h := sha256.New()
	for _, q := range s.Questions {
		fmt.Fprintf(h, "%q %q %q\n", q.Question, q.GoldenAnswers, cmp.Or(string(q.Columns["prompt"]), "null"))
	}
	for _, p := range s.Parts {
		fmt.Fprintf(h, "%d %d\n", p.N, p.Share)
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}
