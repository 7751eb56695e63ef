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

// Keep drops the questions that ok refuses and returns how many those were. why names the filter in the error that says that nothing
// is left of the set, or of a file of a mixture.
func (s *Set) Keep(why string, ok func(Question) bool) (dropped int, err error) {
	before := len(s.Questions)
	kept := s.Questions[:0:0]
	for _, q := range s.Questions {
		if ok(q) {
			kept = append(kept, q)
		}
	}
	if len(kept) == 0 {
		return before, fmt.Errorf("choosing questions: none of %d is left after %s: choose less strictly", before, why)
	}
	s.Questions = kept
	return before - len(kept), s.recount(why)
}

// recount finds the new sizes of a mixture's parts.
func (s *Set) recount(why string) error {
	for i := range s.Parts {
		s.Parts[i].N = 0
		for _, q := range s.Questions {
			if q.File == s.Parts[i].File {
				s.Parts[i].N++
			}
		}
		if s.Parts[i].N == 0 {
			return fmt.Errorf("choosing questions: none of %s is left after %s: choose less strictly, or leave the file out", s.Parts[i].File, why)
		}
	}
	return nil
}

// FromSources keeps the questions of the named data sources.
func (s *Set) FromSources(names []string) error {
	if len(names) == 0 {
		return nil
	}
	var there []string
	for _, q := range s.Questions {
		if !slices.Contains(there, q.DataSource) {
			there = append(there, q.DataSource)
		}
	}
	for _, n := range names {
		if !slices.Contains(there, n) {
			slices.Sort(there)
			return fmt.Errorf("choosing questions: no data source is called %q: there are %s", n, strings.Join(there, ", "))
		}
	}
	_, err := s.Keep("--sources", func(q Question) bool { return slices.Contains(names, q.DataSource) })
	return err
}

// ShortAnswers keeps the questions with an accepted answer of at most words words, and returns how many were dropped: a long answer
// cannot be hit by exact match, and hardly by F1.
func (s *Set) ShortAnswers(words int) (dropped int, err error) {
	if words <= 0 {
		return 0, nil
	}
	return s.Keep(fmt.Sprintf("--max-answer-words %d", words), func(q Question) bool {
		return slices.ContainsFunc(q.GoldenAnswers, func(a string) bool { return len(strings.Fields(a)) <= words })
	})
}

// Split takes held-out questions away: hold of them, or below 1 that share of all. Which ones depends on the text of the questions
// alone, not on seed, order or the other files, and rows that ask the same go to the same side, so that runs stay comparable and
// nothing that is held out was trained on.
func (s *Set) Split(hold float64) (held []Question, err error) {
	n := int(hold)
	if hold < 1 {
		n = int(math.Round(hold * float64(len(s.Questions))))
	}
	if !(hold > 0) || n < 1 || n >= len(s.Questions) {
		return nil, fmt.Errorf("splitting %d questions: %v of them cannot be held out: give a number of questions, or a share between 0 and 1", len(s.Questions), hold)
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
		return nil, fmt.Errorf("splitting %d questions: all of them ask the same: there is nothing to hold out", len(s.Questions))
	}
	s.Questions = rest
	return held, s.recount("the held-out questions were taken")
}

// key hashes a question's words, so that case, spacing and the final question mark do not count.
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

// Digest is a short name for what a run would draw: questions, answers, own prompts, their order and the weights. Resuming with other
// data is found by it.
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
