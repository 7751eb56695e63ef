package data

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/zerosearch-go/zerosearch/internal/pyjson"
)

// answerSplit separates the accepted answers within one string in DeepResearcher's files.
const answerSplit = "<|answer_split|>"

// Answers are accepted answers, read from JSON in the forms that the column golden_answers may have.
type Answers []string

// UnmarshalJSON reads a list of answers or a single answer; null gives no answers.
func (a *Answers) UnmarshalJSON(raw []byte) (err error) {
	*a, err = answers("golden_answers", raw)
	return err
}

func goldenAnswers(row Row) ([]string, error) {
	if raw, ok := row.Columns["golden_answers"]; ok && string(raw) != "null" {
		return answers("golden_answers", raw)
	}
	raw, ok := row.Columns["reward_model"]
	if !ok || string(raw) == "null" {
		return nil, missing(row, "golden_answers (or reward_model.ground_truth.target)")
	}
	var model struct {
		GroundTruth json.RawMessage `json:"ground_truth"`
	}
	if err := pyjson.Unmarshal(objectText(raw), &model); err != nil {
		return nil, fmt.Errorf("column reward_model: %w", err)
	}
	truth := objectText(model.GroundTruth)
	var nested map[string]json.RawMessage
	if json.Unmarshal(truth, &nested) == nil && nested != nil {
		t, ok := nested["target"]
		if !ok {
			return nil, fmt.Errorf("reward_model.ground_truth has no target: it has %s",
				strings.Join(slices.Sorted(maps.Keys(nested)), ", "))
		}
		truth = t
	}
	if truth == nil || string(truth) == "null" {
		return nil, errors.New("reward_model has no ground_truth")
	}
	return answers("reward_model.ground_truth", truth)
}

// objectText parses a string that holds a JSON object as text, as tables may store nested columns. Any other value is
// returned unchanged.
func objectText(raw json.RawMessage) json.RawMessage {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		if inner := strings.TrimSpace(text); strings.HasPrefix(inner, "{") && json.Valid([]byte(inner)) {
			return json.RawMessage(inner)
		}
	}
	return raw
}

// answers reads a list of answers or a single answer. Numbers and booleans become their text. Empty answers are
// dropped, because no answer of a policy can match them.
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
		inner, isList, err := listText(s)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", column, err)
		}
		if isList {
			more, err := answers(column, inner)
			if err != nil {
				return nil, err
			}
			out = append(out, more...)
			continue
		}
		for _, alias := range strings.Split(s, answerSplit) {
			if strings.TrimSpace(alias) != "" {
				out = append(out, alias)
			}
		}
	}
	return out, nil
}

// listText reads a list that is written as text, as in tables that cannot hold lists: JSON (PopQA's possible_answers),
// or a list, a tuple or a set as Python prints it. ok is false if the text is no list. A text that looks like a list
// and cannot be read is an error: as a single answer, no policy could match it.
func listText(s string) (list json.RawMessage, ok bool, err error) {
	s = strings.TrimSpace(s)
	var items []json.RawMessage
	if strings.HasPrefix(s, "[") && json.Unmarshal([]byte(s), &items) == nil {
		return json.RawMessage(s), true, nil
	}
	if texts, ok := pythonList(s); ok {
		list, err = json.Marshal(texts)
		return list, true, err
	}
	if looksLikeList(s) {
		return nil, false, fmt.Errorf("%s looks like a list written as text and cannot be read as one: "+
			"write it as JSON, [\"...\", \"...\"]", short(s))
	}
	return nil, false, nil
}

// looksLikeList says whether a text begins with a bracket and a quotation mark, and either ends with the closing
// bracket or, cut off, has no closing bracket at all.
func looksLikeList(s string) bool {
	for _, brackets := range []string{"[]", "{}"} {
		inside, opened := strings.CutPrefix(s, brackets[:1])
		inside = strings.TrimSpace(inside)
		quoted := strings.HasPrefix(inside, "\"") || strings.HasPrefix(inside, "'")
		if opened && quoted && (strings.HasSuffix(s, brackets[1:]) || !strings.Contains(s, brackets[1:])) {
			return true
		}
	}
	return strings.HasPrefix(s, "array([")
}

// short gives the first 60 characters of a text, in quotes.
func short(s string) string {
	if r := []rune(s); len(r) > 60 {
		return fmt.Sprintf("%q...", string(r[:60]))
	}
	return fmt.Sprintf("%q", s)
}
