package data

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
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

// answerSplit stands between the aliases of one string in DeepResearcher's files.
const answerSplit = "<|answer_split|>"

// Load reads all questions of a file (see Rows for the formats). Every row needs a question, from the column question or else from
// the user message of the column prompt, and golden_answers or verl's reward_model.ground_truth (its target, or itself: list or
// string). The first bad row fails the whole file, an empty file fails as well.
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
	if q.DataSource, err = text(row, "data_source"); err != nil {
		return q, err
	}
	q.ID, err = rowID(row)
	return q, err
}

func missing(row Row, want string) error {
	return fmt.Errorf("no column %s: the columns are %s", want, strings.Join(row.Names(), ", "))
}

func questionText(row Row) (string, error) {
	if s, err := text(row, "question"); err != nil || s != "" {
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

func goldenAnswers(row Row) ([]string, error) {
	if raw, ok := row.Columns["golden_answers"]; ok && string(raw) != "null" {
		return answers("golden_answers", raw)
	}
	var model struct {
		GroundTruth json.RawMessage `json:"ground_truth"`
	}
	ok, err := row.Get("reward_model", &model)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, missing(row, "golden_answers (or reward_model.ground_truth.target)")
	}
	truth := model.GroundTruth
	var nested map[string]json.RawMessage
	if json.Unmarshal(truth, &nested) == nil && nested != nil {
		t, ok := nested["target"]
		if !ok {
			return nil, fmt.Errorf("reward_model.ground_truth has no target: it has %s", strings.Join(slices.Sorted(maps.Keys(nested)), ", "))
		}
		truth = t
	}
	if truth == nil || string(truth) == "null" {
		return nil, errors.New("reward_model has no ground_truth")
	}
	return answers("reward_model.ground_truth", truth)
}

// answers reads a list of answers or a single one, which may hold several joined by answerSplit. Numbers and truth values count as
// their text; empty answers are dropped, because they would be contained in every prediction.
func answers(column string, raw json.RawMessage) ([]string, error) {
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) != nil {
		list = []json.RawMessage{raw}
	}
	var out []string
	for _, item := range list {
		s, err := scalar(item)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", column, err)
		}
		for _, alias := range strings.Split(s, answerSplit) {
			if strings.TrimSpace(alias) != "" {
				out = append(out, alias)
			}
		}
	}
	return out, nil
}

// scalar is the text of a JSON string, number or truth value; null is empty.
func scalar(raw json.RawMessage) (string, error) {
	raw = json.RawMessage(strings.TrimSpace(string(raw)))
	switch {
	case len(raw) == 0 || string(raw) == "null":
		return "", nil
	case raw[0] == '"':
		var s string
		err := json.Unmarshal(raw, &s)
		return s, err
	case raw[0] == '{' || raw[0] == '[':
		return "", errors.New("expected text, found an object or a list")
	}
	return string(raw), nil
}

func text(row Row, column string) (string, error) {
	s, err := scalar(row.Columns[column])
	if err != nil {
		return "", fmt.Errorf("column %s: %w", column, err)
	}
	return s, nil
}

func rowID(row Row) (string, error) {
	if s, err := text(row, "id"); err != nil || s != "" {
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
