package search

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Recorded answers searches with the documents that a run recorded, so that the run can be repeated without its search
// engine. The stream of a query identifies the search. The quality of a simulated engine's documents is not taken from
// the record: it is computed again from the curriculum.
type Recorded struct {
	// Curriculum and NoiseRate are the settings of the run: see Simulated.
	Curriculum Curriculum
	NoiseRate  *float64

	byStream map[uint64]recordedSearch // by stream
}

type recordedSearch struct {
	query   string
	found   Documents
	failure string
}

// Add adds a recorded search. d holds the recorded documents, without Text; observation is what the policy was shown.
// failure says why the search failed, "" if it did not.
func (r *Recorded) Add(stream uint64, query string, d Documents, observation, failure string) {
	// The policy was shown the text of the documents. Where the two differ, the shown text is taken.
	_, text, opened := strings.Cut(observation, "<information>")
	if end := strings.LastIndex(text, "</information>"); opened && end >= 0 {
		text = strip(text[:end])
	} else {
		text = ""
	}
	switch {
	case text == "":
		text = Numbered(d.Docs) // not shown: the context had no room for it
	case Numbered(d.Docs) != text:
		if d.Docs = Split(text); text == NoInformation {
			d.Docs = []string{}
		}
	}
	d.Text, d.Docs = text, slices.Clone(d.Docs)
	if r.byStream == nil {
		r.byStream = map[uint64]recordedSearch{}
	}
	r.byStream[stream] = recordedSearch{query, d, failure}
}

// Name is recorded.
func (r *Recorded) Name() string { return "recorded" }

// Search gives what was recorded.
func (r *Recorded) Search(ctx context.Context, q Query) (Documents, error) {
	if err := ctx.Err(); err != nil {
		return Documents{}, fmt.Errorf("repeating a search: %w", err)
	}
	s, ok := r.byStream[q.Stream]
	switch {
	case !ok || s.query != q.Query:
		return Documents{}, fmt.Errorf("nothing is recorded for %.80q: the run searched %.80q here", q.Query, s.query)
	case s.failure != "":
		return Documents{}, errors.New(s.failure)
	}
	d := s.found
	if d.Quality != Real {
		again := (&Simulated{Curriculum: r.Curriculum, NoiseRate: r.NoiseRate}).quality(&q)
		d.Quality, d.Tau, d.Draw = again.Quality, again.Tau, again.Draw
	}
	return d, nil
}
