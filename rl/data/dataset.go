package data

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// Question is one row of a question-answering set.
type Question struct {
	// ID is the column id, else extra_info.index, else "row-N".
	ID string
	// Question is the question itself, without any instruction around it.
	Question string
	// GoldenAnswers are the accepted answers, at least one, none empty.
	GoldenAnswers []string
	// DataSource names the set the row came from; "" if the file does not say.
	DataSource string
	// File is the file it came from, Row the row there, from 1.
	File string
	Row  int
	// Columns holds all columns of the row as they were, to be echoed.
	Columns map[string]json.RawMessage
}

// Load reads all questions of a file (see Rows for the formats). Every row needs a question, from the column question
// or else from the user message of the column prompt, and golden_answers or verl's reward_model.ground_truth (its
// target, or itself: a list or one answer; either may be written as text). The first bad row fails the whole file, an
// empty file fails as well.
func Load(path string) ([]Question, error) {
	var out []Question
	for row, err := range Rows(path) {
		if err != nil {
			return nil, err
		}
		q, err := ParseQuestion(row)
		if err != nil {
			return nil, fmt.Errorf("reading %s: row %d: %w", path, row.N, err)
		}
		q.File = path
		if q.DataSource == "" && path != "-" {
			q.DataSource = sourceName(path)
		}
		out = append(out, q)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("reading %s: no rows: give a file with at least one question", path)
	}
	return out, nil
}

// sourceName is a file's name without folders and format endings.
func sourceName(path string) string {
	name := filepath.Base(path)
	for _, ext := range []string{".gz", ".jsonl", ".json", ".parquet"} {
		name = strings.TrimSuffix(name, ext)
	}
	return name
}

// ParseQuestion reads a question from a row; errors do not name file and row.
func ParseQuestion(row Row) (Question, error) {
	q := Question{Row: row.N, Columns: row.Columns}
	var err error
	if q.Question, err = questionText(row); err != nil {
		return q, err
	}
	if strings.TrimSpace(q.Question) == "" {
		return q, errors.New("the question is empty")
	}
	if q.GoldenAnswers, err = goldenAnswers(row); err != nil {
		return q, err
	}
	if len(q.GoldenAnswers) == 0 {
		return q, errors.New("no golden answer: the list is empty or holds only empty texts")
	}
	if q.DataSource, err = row.Text("data_source"); err != nil {
		return q, err
	}
	q.ID, err = rowID(row)
	return q, err
}

func missing(row Row, want string) error {
	if name, _, _ := strings.Cut(want, " "); row.Columns[name] != nil {
		return fmt.Errorf("column %s is null", name)
	}
	return fmt.Errorf("no column %s: the columns are %s", want, strings.Join(row.Names(), ", "))
}

func questionText(row Row) (string, error) {
	if s, err := row.Text("question"); err != nil || s != "" {
		return s, err
	}
	if _, ok := row.Columns["question"]; ok {
		return "", nil
	}
	var chat []struct{ Role, Content string }
	if ok, err := row.Get("prompt", &chat); err != nil {
		return "", err
	} else if !ok {
		return "", missing(row, "question (or prompt)")
	}
	for _, m := range slices.Backward(chat) {
		if m.Role == "user" {
			// A prompt that carries the whole instruction ends with "Question: ...".
			if i := strings.LastIndex(m.Content, "Question: "); i >= 0 {
				return strings.TrimSpace(m.Content[i+len("Question: "):]), nil
			}
			return strings.TrimSpace(m.Content), nil
		}
	}
	return "", errors.New("column prompt: holds no user message")
}

func rowID(row Row) (string, error) {
	if s, err := row.Text("id"); err != nil || s != "" {
		return s, err
	}
	var extra map[string]json.RawMessage
	if _, err := row.Get("extra_info", &extra); err == nil {
		if s, err := scalar(extra["index"]); err == nil && s != "" {
			return s, nil
		}
	}
	return fmt.Sprintf("row-%d", row.N), nil
}
