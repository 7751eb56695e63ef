package data

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// Question is one row of a question-answering data set.
type Question struct {
	// ID comes from the column id, else from extra_info.index; else it is "row-N".
	ID string
	// Question is the question itself, without any instruction around it.
	Question string
	// GoldenAnswers are the accepted answers: at least one, and none of them is empty.
	GoldenAnswers []string
	// Facts, from the column search_facts, give the answers of single queries (see search.Query); nil without it.
	Facts map[string]string
	// DataSource is the name of the data set of the row, as in verl. ParseQuestion leaves it "" without a column
	// data_source; Load then takes the name of the file.
	DataSource string
	// File is the file that holds the question, Row the number of the row in it, from 1.
	File string
	Row  int
	// Columns holds all columns of the row as JSON, unchanged.
	Columns map[string]json.RawMessage
}

// Load reads all questions of a file (see Rows for the formats). Every row needs a question: from the column question,
// else from the last user message of the column prompt. It also needs accepted answers: from golden_answers, else from
// verl's reward_model.ground_truth.target, else from reward_model.ground_truth. They are a list or one answer, and
// either may be written as text. A bad row is an error for the file, and so is a file without rows.
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

// sourceName is the name of a file without its folder and without the endings of its format.
func sourceName(path string) string {
	name := filepath.Base(path)
	for _, ext := range []string{".gz", ".jsonl", ".json", ".parquet"} {
		name = strings.TrimSuffix(name, ext)
	}
	return name
}

// ParseQuestion reads a question from a row. Its errors do not name the file and the row.
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
	if _, err = row.Get("search_facts", &q.Facts); err != nil {
		return q, err
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
			// A prompt that contains ZeroSearch's instruction ends with "Question: ...".
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
