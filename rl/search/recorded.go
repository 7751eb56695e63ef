package search

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Recorded gives every search the documents that the same search of a run was given, to repeat it without its engine.
// A search is known by its stream. Which documents of simulated engines had to be noisy is not taken from the record
// but decided again.
type Recorded struct {
	// Curriculum and NoiseRate are those of the run: see Simulated.
	Curriculum Curriculum
	NoiseRate  *float64

	by map[uint64]recordedSearch
}

type recordedSearch struct {
	query   string
	found   Documents
	failure string
}

// Add records a search: d as it was recorded, without its text, and the observation that the policy was shown.
// failure is why the search failed, "" if it did not.
func (r *Recorded) Add(stream uint64, query string, d Documents, observation, failure string) {
	// What was shown is the text of the documents. If they say something else, the text tells which is right.
	_, text, opened := strings.Cut(observation, "<information>")
	if end := strings.LastIndex(text, "</information>"); opened && end >= 0 {
		text = strip(text[:end])
	} else {
		text = ""
	}
	switch {
	case text == "":
		text = join(d.Docs) // not shown: there was no room for it
	case join(d.Docs) != text:
		if d.Docs = Split(text); text == NoInformation {
			d.Docs = []string{}
		}
	}
	d.Text, d.Docs = text, slices.Clone(d.Docs)
	if r.by == nil {
		r.by = map[uint64]recordedSearch{}
	}
	r.by[stream] = recordedSearch{query, d, failure}
}

// Name is recorded.
func (r *Recorded) Name() string { return "recorded" }

// Search gives what was recorded.
func (r *Recorded) Search(ctx context.Context, q Query) (Documents, error) {
	if err := ctx.Err(); err != nil {
		return Documents{}, fmt.Errorf("repeating a search: %w", err)
	}
	s, ok := r.by[q.Stream]
	switch {
	case !ok || s.query != q.Query:
		return Documents{}, fmt.Errorf("nothing is recorded for %.80q: the run searched %.80q here", q.Query, s.query)
	case s.failure != "":
		return Documents{}, errors.New(s.failure)
	}
	d := s.found
	if d.Quality != Real {
		again := (&Simulated{Curriculum: r.Curriculum, NoiseRate: r.NoiseRate}).quality(q)
		d.Quality, d.Tau, d.Draw = again.Quality, again.Tau, again.Draw
	}
	return d, nil
}
