package episode

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"slices"
	"strconv"

	"github.com/zerosearch-go/zerosearch/internal/pyjson"
)

// lineEpisode is an episode in the form of episodes.jsonl. The order of the fields is the order in the file.
type lineEpisode struct {
	Step          int                `json:"step"`
	Group         int                `json:"group"`
	QuestionID    string             `json:"question_id"`
	Rollout       int                `json:"rollout"`
	Attempt       int                `json:"attempt"`
	Status        Status             `json:"status"`
	Error         string             `json:"error,omitempty"`
	Question      string             `json:"question"`
	GoldenAnswers []string           `json:"golden_answers"`
	PromptIDs     idList             `json:"prompt_ids"`
	Reward        float64            `json:"reward"`
	RewardParts   map[string]float64 `json:"reward_parts,omitempty"`
	Advantage     advantageList      `json:"advantage,omitempty"`
	Answer        *string            `json:"answer"`
	Temperature   float64            `json:"temperature"`
	Turns         []lineTurn         `json:"turns"`
}

// lineTurn is a turn in the form of episodes.jsonl. The fields of a search are left out of other turns.
type lineTurn struct {
	IDs         idList      `json:"ids"`
	Mask        maskList    `json:"mask"`
	Logprobs    logprobList `json:"logprobs"`
	Prefill     string      `json:"prefill,omitempty"`
	Text        string      `json:"text"`
	Action      Action      `json:"action"`
	Query       *string     `json:"query,omitempty"`
	Documents   *[]string   `json:"documents,omitempty"`
	Engine      string      `json:"engine,omitempty"`
	Quality     *string     `json:"quality,omitempty"`
	Tau         *float64    `json:"tau,omitempty"`
	Draw        *float64    `json:"draw,omitempty"`
	Gain        *float64    `json:"information_gain,omitempty"`
	Observation string      `json:"observation,omitempty"`
}

// idList are token ids.
type idList []int32

// UnmarshalJSON reads ids. A null is an error, because package json would read it as id 0.
func (l *idList) UnmarshalJSON(raw []byte) error {
	if err := json.Unmarshal(raw, (*[]int32)(l)); err != nil {
		return err
	}
	return noNull(raw)
}

// noNull is an error if a list of numbers contains null.
func noNull(list []byte) error {
	if len(list) > 0 && list[0] == '[' && bytes.Contains(list, []byte("null")) {
		return errors.New("null where a number is expected")
	}
	return nil
}

// maskList is a mask, written as a list of 0 and 1.
type maskList []bool

// MarshalJSON writes [1,0,...].
func (b maskList) MarshalJSON() ([]byte, error) {
	out := append(make([]byte, 0, 2*len(b)+2), '[')
	for i, v := range b {
		if i > 0 {
			out = append(out, ',')
		}
		if v {
			out = append(out, '1')
		} else {
			out = append(out, '0')
		}
	}
	return append(out, ']'), nil
}

// UnmarshalJSON reads [1,0,...].
func (b *maskList) UnmarshalJSON(raw []byte) error {
	var v []uint16 // not bytes, which package json reads from a base64 string
	if err := errors.Join(json.Unmarshal(raw, &v), noNull(raw)); err != nil {
		return err
	}
	*b = make(maskList, len(v))
	for i, x := range v {
		if x > 1 {
			return fmt.Errorf("mask: %d: must be 0 or 1", x)
		}
		(*b)[i] = x == 1
	}
	return nil
}

// logprobList are log-probs. NaN stands for null. A nil slice means that no log-probs were recorded.
type logprobList []float32

// MarshalJSON writes the shortest decimals that read back as the same float32.
func (n logprobList) MarshalJSON() ([]byte, error) {
	if n == nil {
		return []byte("null"), nil
	}
	out := append(make([]byte, 0, 12*len(n)+2), '[')
	for i, v := range n {
		if i > 0 {
			out = append(out, ',')
		}
		if v != v {
			out = append(out, "null"...)
			continue
		}
		if math.IsInf(float64(v), 0) {
			return nil, errors.New("an infinite log-prob")
		}
		out = strconv.AppendFloat(out, float64(v), 'g', -1, 32)
	}
	return append(out, ']'), nil
}

// UnmarshalJSON reads numbers and nulls.
func (n *logprobList) UnmarshalJSON(raw []byte) error {
	var v []*float32
	if err := json.Unmarshal(raw, &v); err != nil {
		return err
	}
	if *n = nil; v != nil {
		*n = make(logprobList, len(v))
	}
	for i, x := range v {
		if (*n)[i] = float32(math.NaN()); x != nil {
			(*n)[i] = *x
		}
	}
	return nil
}

// advantageList has one value for each sampled id. Most algorithms give all ids of an episode the same value, which is
// written as one number.
type advantageList []float32

// MarshalJSON writes the shortest decimals that read back as the same float32.
func (p advantageList) MarshalJSON() ([]byte, error) {
	for _, v := range p {
		if v != v || math.IsInf(float64(v), 0) {
			return nil, errors.New("an advantage is not a number")
		}
		if v != p[0] {
			return logprobList(p).MarshalJSON()
		}
	}
	return strconv.AppendFloat(nil, float64(p[0]), 'g', -1, 32), nil
}

// UnmarshalJSON reads one number, or one for each id.
func (p *advantageList) UnmarshalJSON(raw []byte) error {
	if len(raw) > 0 && raw[0] == '[' {
		return json.Unmarshal(raw, (*[]float32)(p))
	}
	var v *float32
	if err := json.Unmarshal(raw, &v); err != nil || v == nil {
		return err
	}
	*p = advantageList{*v}
	return nil
}

// MarshalJSON writes the episode as one object of episodes.jsonl: without blanks, with the keys always in the same
// order.
func (e *Episode) MarshalJSON() ([]byte, error) {
	l := lineEpisode{Step: e.Step, Group: e.Group, QuestionID: e.QuestionID, Rollout: e.Rollout, Attempt: e.Attempt,
		Status: e.Status, Error: e.Err,
		Question: e.Question, GoldenAnswers: notNil(e.GoldenAnswers), PromptIDs: notNil(e.PromptIDs), Reward: e.Reward,
		RewardParts: e.RewardParts, Advantage: e.Advantages, Temperature: e.Temperature,
		Turns: make([]lineTurn, len(e.Turns))}
	if a, ok := e.Answer(); ok {
		l.Answer = &a
	}
	for i := range e.Turns {
		var err error
		if l.Turns[i], err = e.Turns[i].line(); err != nil {
			return nil, fmt.Errorf("turn %d: %w", i+1, err)
		}
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // < and > in tags stay readable
	err := enc.Encode(l)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// Line writes the episode as a line of episodes.jsonl, with its line break. (json.Marshal gives the same object, but
// escapes every tag.)
func (e *Episode) Line() ([]byte, error) {
	b, err := e.MarshalJSON()
	if err != nil {
		return nil, fmt.Errorf("writing the episode of question %s, step %d: %w", e.QuestionID, e.Step, err)
	}
	return append(b, '\n'), nil
}

func (t *Turn) line() (lineTurn, error) {
	l := lineTurn{IDs: notNil(t.IDs), Mask: t.Mask, Prefill: t.Prefill, Text: t.Text, Action: t.Action,
		Observation: t.Observation}
	if t.Logprobs != nil {
		l.Logprobs = make(logprobList, len(t.Logprobs))
		for i, v := range t.Logprobs {
			if l.Logprobs[i] = v; !t.Mask[i] {
				l.Logprobs[i] = float32(math.NaN())
			} else if v != v {
				return l, errors.New("a log-prob is not a number")
			}
		}
	}
	if t.Action == Search {
		docs := notNil(t.Documents)
		l.Query, l.Documents, l.Engine, l.Gain = &t.Content, &docs, t.Engine, t.Gain
		if t.Quality != "" {
			l.Quality, l.Tau, l.Draw = &t.Quality, &t.Tau, &t.Draw
		}
	}
	return l, nil
}

func notNil[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}

// UnmarshalJSON reads an object of episodes.jsonl. It checks that the lengths agree, so that every episode that it
// accepts can be trained on.
func (e *Episode) UnmarshalJSON(raw []byte) error {
	var l lineEpisode
	if err := json.Unmarshal(raw, &l); err != nil {
		return pyjson.Explain(err)
	}
	*e = Episode{Step: l.Step, Group: l.Group, QuestionID: l.QuestionID, Rollout: l.Rollout, Attempt: l.Attempt,
		Status: l.Status, Err: l.Error,
		Question: l.Question, GoldenAnswers: l.GoldenAnswers, PromptIDs: l.PromptIDs, Reward: l.Reward,
		RewardParts: l.RewardParts, Temperature: l.Temperature, Turns: make([]Turn, len(l.Turns))}
	if i := negative(e.PromptIDs); i >= 0 {
		return fmt.Errorf("prompt_ids: id %d is %d: must not be negative", i, e.PromptIDs[i])
	}
	for i := range l.Turns {
		if err := e.Turns[i].fill(&l.Turns[i], l.Answer); err != nil {
			return fmt.Errorf("turn %d: %w", i+1, err)
		}
	}
	switch n := e.PolicyTokens(); len(l.Advantage) {
	case 0:
	case n:
		e.Advantages = l.Advantage
	case 1:
		e.Advantages = slices.Repeat(l.Advantage, n)
	default:
		return fmt.Errorf("advantage: %d values for %d sampled ids", len(l.Advantage), n)
	}
	return nil
}

func (t *Turn) fill(l *lineTurn, answer *string) error {
	*t = Turn{IDs: l.IDs, Mask: l.Mask, Logprobs: l.Logprobs, Prefill: l.Prefill, Text: l.Text, Action: l.Action,
		Engine: l.Engine, Observation: l.Observation, Gain: l.Gain}
	if len(t.Mask) != len(t.IDs) || t.Logprobs != nil && len(t.Logprobs) != len(t.IDs) {
		return fmt.Errorf("%d ids, %d mask, %d logprobs: the numbers must be equal", len(t.IDs), len(t.Mask),
			len(t.Logprobs))
	}
	if i := negative(t.IDs); i >= 0 {
		return fmt.Errorf("id %d is %d: must not be negative", i, t.IDs[i])
	}
	for i, v := range t.Logprobs {
		if t.Mask[i] && v != v {
			return fmt.Errorf("logprob %d: must be a number where mask is 1", i)
		}
		if !t.Mask[i] { // null, or a log-prob that another program recorded for an id that is not trained on
			t.Logprobs[i] = 0
		}
	}
	switch {
	case t.Action == Answer && answer != nil:
		t.Content = *answer
	case l.Query != nil:
		t.Content = *l.Query
	}
	if l.Documents != nil {
		t.Documents = *l.Documents
	}
	if l.Quality != nil {
		t.Quality = *l.Quality
	}
	if l.Tau != nil {
		t.Tau = *l.Tau
	}
	if l.Draw != nil {
		t.Draw = *l.Draw
	}
	return nil
}

// negative is the index of the first negative id, -1 if there is none.
func negative(ids []int32) int {
	for i, id := range ids {
		if id < 0 {
			return i
		}
	}
	return -1
}

// Read yields the episodes of an episodes.jsonl; name appears in errors. It stops at the first bad line.
func Read(name string, r io.Reader) iter.Seq2[*Episode, error] {
	return func(yield func(*Episode, error) bool) {
		br := bufio.NewReaderSize(r, 1<<16)
		for n := 1; ; n++ {
			line, err := br.ReadBytes('\n')
			if err != nil && err != io.EOF {
				yield(nil, fmt.Errorf("reading %s: line %d: %w", name, n, err))
				return
			}
			if line = bytes.TrimSpace(line); len(line) > 0 {
				e := new(Episode)
				if bad := json.Unmarshal(line, e); bad != nil {
					yield(nil, fmt.Errorf("reading %s: line %d: %w: each line must be one episode", name, n, bad))
					return
				}
				if !yield(e, nil) {
					return
				}
			}
			if err == io.EOF {
				return
			}
		}
	}
}
