// Package simulate generates documents offline, millions if need be, and measures their quality: a simulated search
// engine answers the queries of a file, and the documents are written to shards in JSON lines or parquet.
package simulate

import (
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/zerosearch-go/zerosearch/internal/pyjson"
	"github.com/zerosearch-go/zerosearch/rl/data"
	"github.com/zerosearch-go/zerosearch/rl/search"
	"github.com/zerosearch-go/zerosearch/rl/shards"
)

// Row is a query with the documents that were written for it.
type Row struct {
	Query         string         `json:"query"`
	Question      string         `json:"question"`
	GoldenAnswers []string       `json:"golden_answers"`
	Quality       search.Quality `json:"quality"`
	Documents     []string       `json:"documents"`
	// Raw is the complete output of the simulator; "" where it was not kept.
	Raw string `json:"raw"`
	// PromptTokens and CompletionTokens count the tokens that the simulator read and wrote.
	PromptTokens     int `json:"prompt_tokens"`
	CompletionTokens int `json:"completion_tokens"`
	// Failure says why there are no documents; "" where there are.
	Failure string `json:"error,omitempty"`
}

// Files are the files with documents in a path: the shards that a simulation wrote into a folder, the episodes.jsonl of
// a run directory, or the file itself.
func Files(path string) ([]string, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("reading simulated documents: %w", err)
	}
	if !st.IsDir() {
		return []string{path}, nil
	}
	var files []string
	for _, pattern := range []string{shards.Prefix + "*.jsonl", shards.Prefix + "*.parquet", "episodes.jsonl"} {
		found, _ := filepath.Glob(filepath.Join(path, pattern)) // the pattern is well formed
		files = append(files, found...)
	}
	if files == nil {
		return nil, fmt.Errorf("reading simulated documents: %s has neither %s*.jsonl nor %s*.parquet nor "+
			"episodes.jsonl: give what simulate --out wrote, or a run directory", path, shards.Prefix, shards.Prefix)
	}
	slices.Sort(files)
	return files, nil
}

// ReadRows yields the rows of files in order. A row is what simulate writes, or an episode of a run: then it yields
// one row for every search of the episode.
func ReadRows(files ...string) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		for _, file := range files {
			for raw, err := range data.Rows(file) {
				var rows []Row
				if err == nil {
					if rows, err = parseRows(raw); err != nil {
						err = fmt.Errorf("reading %s: row %d: %w", file, raw.N, err)
					}
				}
				if err != nil {
					yield(Row{}, err)
					return
				}
				for _, r := range rows {
					if !yield(r, nil) {
						return
					}
				}
			}
		}
	}
}

// column is a column of a row and what its value is decoded into.
type column struct {
	name string
	into any
}

// get decodes columns of a row; missing ones are left as they are.
func get(row data.Row, columns ...column) error {
	for _, c := range columns {
		if _, err := row.Get(c.name, c.into); err != nil {
			return err
		}
	}
	return nil
}

// parseRows reads the documents of one row of a file.
func parseRows(raw data.Row) ([]Row, error) {
	r := Row{}
	var answers data.Answers
	err := get(raw, column{"query", &r.Query}, column{"question", &r.Question}, column{"golden_answers", &answers},
		column{"quality", &r.Quality}, column{"documents", &r.Documents}, column{"raw", &r.Raw},
		column{"prompt_tokens", &r.PromptTokens}, column{"completion_tokens", &r.CompletionTokens},
		column{"error", &r.Failure})
	if err != nil {
		return nil, err
	}
	r.GoldenAnswers = answers
	if turns, ok := raw.Columns["turns"]; ok {
		return searches(r, turns)
	}
	switch {
	case r.Failure != "":
	case raw.Columns["documents"] == nil && r.Raw == "":
		return nil, errors.New("no column documents: the columns are " + strings.Join(raw.Names(), ", "))
	case raw.Columns["documents"] == nil:
		r.Documents = search.Split(r.Raw)
	}
	return []Row{r}, nil
}

// searches gives a row for every search of an episode that found something.
func searches(episode Row, turns []byte) (rows []Row, err error) {
	var list []struct {
		Action, Query string
		Documents     []string
		Quality       search.Quality
	}
	if err := pyjson.Unmarshal(turns, &list); err != nil {
		return nil, fmt.Errorf("column turns: %w", err)
	}
	for _, t := range list {
		if t.Action == "search" && t.Documents != nil {
			rows = append(rows, Row{Query: t.Query, Question: episode.Question, GoldenAnswers: episode.GoldenAnswers,
				Quality: t.Quality, Documents: t.Documents})
		}
	}
	return rows, nil
}

// Known are the question and the accepted answers of queries, by query.
type Known map[string]Row

// ReadKnown reads requests: rows with a query, a question and golden_answers. Of rows with the same query the first is
// kept.
func ReadKnown(path string) (Known, error) {
	out := Known{}
	for raw, err := range data.Rows(path) {
		if err != nil {
			return nil, err
		}
		var r Row
		var answers data.Answers
		err = get(raw, column{"query", &r.Query}, column{"question", &r.Question}, column{"golden_answers", &answers})
		if err != nil {
			return nil, fmt.Errorf("reading %s: row %d: %w", path, raw.N, err)
		}
		if _, ok := out[r.Query]; !ok {
			r.GoldenAnswers = answers
			out[r.Query] = r
		}
	}
	return out, nil
}

// Complete adds the known question and accepted answers to a row that has no accepted answers.
func (k Known) Complete(r Row) Row {
	if known, ok := k[r.Query]; ok && len(r.GoldenAnswers) == 0 {
		r.Question, r.GoldenAnswers = known.Question, known.GoldenAnswers
	}
	return r
}
