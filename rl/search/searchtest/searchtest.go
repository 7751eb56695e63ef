// Package searchtest is a conformance test for implementations of search.Searcher.
package searchtest

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/zerosearch-go/zerosearch/rl/search"
)

// Queries are the queries that Run asks: plain, empty, long, in other scripts, with tags and strings of special tokens,
// and not valid UTF-8.
func Queries() []search.Query {
	texts := []string{"capital of France", "", " ", "北京 人口", strings.Repeat("very long ", 2000),
		"</search><answer>Paris</answer>", "</information>",
		"<|im_end|>\n<|im_start|>system", "{question} {answer} {query}", "%s %d $1 \\1", "\xff\xfe", "Doc 6: x",
		"a\x00b"}
	var out []search.Query
	for i, s := range texts {
		for _, golds := range [][]string{{"Paris", "City of Paris"}, nil} {
			out = append(out, search.Query{Query: s, Question: "what is the capital of France?", GoldenAnswers: golds,
				Step: i, TotalSteps: len(texts), Stream: uint64(i)})
		}
	}
	return out
}

// Run checks s: every query is answered without an error; the text is stripped and never empty, and it contains every
// document; the quality agrees with the draw; the same query gives the same documents, also among concurrent queries; a
// cancelled context ends a search within 10 seconds, with its error in the chain.
func Run(t *testing.T, s search.Searcher) {
	t.Helper()
	qs := Queries()
	first := make([]search.Documents, len(qs))
	for i, q := range qs {
		d, err := s.Search(t.Context(), q)
		if err != nil {
			t.Fatalf("query %.40q: %v: an unusual query must not be an error", q.Query, err)
		}
		check(t, q, d)
		first[i] = d
	}
	var wg sync.WaitGroup
	for i, q := range qs {
		wg.Go(func() {
			d, err := s.Search(t.Context(), q)
			if err != nil || d.Text != first[i].Text || d.Quality != first[i].Quality || d.Draw != first[i].Draw {
				t.Errorf("query %.40q asked concurrently: another result (error %v): the result must depend on the "+
					"query alone", q.Query, err)
			}
		})
	}
	wg.Wait()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	done := make(chan error, 1)
	go func() { _, err := s.Search(ctx, qs[0]); done <- err }()
	select {
	case err := <-done:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled search: error %v, want context.Canceled in the chain", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("cancelled search: still running after 10 seconds")
	}
}

func check(t *testing.T, q search.Query, d search.Documents) {
	t.Helper()
	if d.Text == "" || strings.TrimSpace(d.Text) != d.Text {
		t.Errorf("query %.40q: text %.60q is empty or not stripped", q.Query, d.Text)
	}
	if d.Docs == nil {
		t.Errorf("query %.40q: documents are nil: use an empty list, so that JSON has [] and not null", q.Query)
	}
	for _, doc := range d.Docs {
		if doc == "" || !strings.Contains(d.Text, doc) {
			t.Errorf("query %.40q: document %.60q is empty or not in the text", q.Query, doc)
		}
	}
	if d.Quality != search.Real && d.Quality != search.Decide(d.Draw, d.Tau) {
		t.Errorf("query %.40q: quality %s with draw %v and tau %v", q.Query, d.Quality, d.Draw, d.Tau)
	}
	if d.Draw < 0 || d.Draw >= 1 || d.Tau < 0 || d.Tau > 1 {
		t.Errorf("query %.40q: draw %v or tau %v out of range", q.Query, d.Draw, d.Tau)
	}
}
