package simulate

import (
	"fmt"
	"slices"

	"github.com/zerosearch-go/zerosearch/rl/eval"
)

// Table shows the scores of several sets, a column for every set and quality. Several sets are numbered from 1.
func Table(sets ...Scores) eval.Grid {
	g := eval.Grid{Head: []string{""}, Left: 1}
	read := slices.ContainsFunc(sets, func(s Scores) bool {
		for _, scored := range s.Qualities {
			if scored.Reader != nil {
				return true
			}
		}
		return false
	})
	lines := lines
	if !read {
		lines = lines[:len(lines)-readerLines]
	}
	for _, line := range lines {
		g.Rows = append(g.Rows, []string{fmt.Sprintf("%-31s", line.title)})
	}
	for i, s := range sets {
		for _, quality := range []string{"useful", "noisy", "real"} {
			scored := s.Qualities[quality]
			if scored == nil {
				continue
			}
			head := quality
			if len(sets) > 1 {
				head = fmt.Sprintf("%d %s", i+1, quality)
			}
			g.Head = append(g.Head, head)
			for k, line := range lines {
				g.Rows[k] = append(g.Rows[k], line.value(scored))
			}
		}
	}
	return g
}

// lines are the lines of the table.
var lines = []struct {
	title string
	value func(s *Scored) string
}{
	{"rows", func(s *Scored) string { return fmt.Sprint(s.Rows) }},
	{"answer in a row's documents, %", func(s *Scored) string {
		return percentOf(s.AnswerInResult, s.WithAnswers)
	}},
	{"documents with the answer, %", func(s *Scored) string { return percentOf(s.AnswerInDocument, s.WithAnswers) }},
	{"query terms in the documents, %", func(s *Scored) string { return percentOf(s.QueryTerms, s.Rows) }},
	{"another row's query terms, %", func(s *Scored) string { return percentOf(s.OtherQueryTerms, s.Rows-1) }},
	{"found first by BM25, %", func(s *Scored) string { return percentOf(s.Retrieved, s.SearchedRows) }},
	{"distinct-2 within a row, %", func(s *Scored) string { return percentOf(s.Distinct, s.Rows) }},
	{"documents seen before, %", func(s *Scored) string { return percentOf(s.Repeated, s.Rows) }},
	{"documents copying the prompt, %", func(s *Scored) string { return percentOf(s.CopiesPrompt, s.Rows) }},
	{"documents per row", func(s *Scored) string { return fmt.Sprintf("%.2f", s.Documents) }},
	{"rows with all documents, %", func(s *Scored) string { return percentOf(s.Complete, s.Rows) }},
	{"rows numbered in order, %", func(s *Scored) string { return percentOf(s.Numbered, s.RawRows) }},
	{"words per document", func(s *Scored) string { return fmt.Sprintf("%.0f ± %.0f", s.Words, s.WordsSD) }},
	{"tokens per row", func(s *Scored) string {
		if s.CompletionTokens == 0 {
			return "-" // not recorded
		}
		return fmt.Sprintf("%.1f", s.CompletionTokens)
	}},
	{"rows that the reader read", func(s *Scored) string {
		return ofReader(s, func(r *Read) string { return fmt.Sprint(r.Rows) })
	}},
	{"F1 of the reader", func(s *Scored) string {
		return ofReader(s, func(r *Read) string { return fmt.Sprintf("%.3f", r.F1) })
	}},
	{"F1 without documents", func(s *Scored) string {
		return ofReader(s, func(r *Read) string { return fmt.Sprintf("%.3f", r.None) })
	}},
	{"F1 with real documents", func(s *Scored) string {
		return ofReader(s, func(r *Read) string {
			if r.Real == nil {
				return "-"
			}
			return fmt.Sprintf("%.3f", *r.Real)
		})
	}},
}

// ofReader is a score of the reader, a dash where there is none.
func ofReader(s *Scored, value func(r *Read) string) string {
	if s.Reader == nil {
		return "-"
	}
	return value(s.Reader)
}

// readerLines is the number of lines, at the end of the table, about a reader.
const readerLines = 4

// percentOf writes a share of n in percent, a dash where n is 0.
func percentOf(share float64, n int) string {
	if n <= 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f", 100*share)
}
