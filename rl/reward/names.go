package reward

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
)

// Attempt is the part of an episode that a reward can depend on.
type Attempt struct {
	QuestionID    string   `json:"question_id"`
	Question      string   `json:"question"`
	GoldenAnswers []string `json:"golden_answers"`
	DataSource    string   `json:"data_source"`
	// Answer is the answer of the policy, nil if it gave none. Status says how the episode ended.
	Answer *string `json:"answer"`
	Status string  `json:"status"`
	Turns  []Turn  `json:"turns"`
	// Columns is the question's row in the data, unchanged.
	Columns map[string]json.RawMessage `json:"columns"`
}

// Turn is one turn of the policy: its text, its action (search, answer or invalid), and the query and documents of a
// search. Prefill is the part of the turn that is already in the prompt: "<think>\n" in the first turn if the chat
// template opens the thought.
type Turn struct {
	Prefill   string   `json:"prefill,omitempty"`
	Text      string   `json:"text"`
	Action    string   `json:"action"`
	Query     string   `json:"query,omitempty"`
	Documents []string `json:"documents,omitempty"`
}

// Scorer computes rewards. A Go program trains with its own reward by setting the Scorer of a trainer's Reward.
type Scorer interface {
	// Score gives a finite reward for each attempt, in order. It must depend on the attempts alone, otherwise a run
	// cannot be repeated. An error ends the run.
	Score(ctx context.Context, attempts []Attempt) ([]float64, error)
}

// Func is a Scorer that computes the reward of one attempt at a time.
type Func func(a Attempt) float64

// Score calls f for each attempt.
func (f Func) Score(ctx context.Context, attempts []Attempt) ([]float64, error) {
	out := make([]float64, len(attempts))
	for i, a := range attempts {
		out[i] = f(a)
	}
	return out, ctx.Err()
}

// outcome turns a measure of answers into a reward; an attempt without an answer gets 0.
func outcome(f func(answer string, golds []string) float64) Func {
	return func(a Attempt) float64 {
		if a.Answer == nil {
			return 0
		}
		return f(*a.Answer, a.GoldenAnswers)
	}
}

// DefaultFormatWeight is the default weight of the format in a reward format+NAME.
const DefaultFormatWeight = 0.2

// Reward is a named reward.
type Reward struct {
	// Name is the name that was given to Lookup.
	Name string
	// Shuffled says that the caller must score against the golden answers of another question, which ShuffledGolds
	// chooses. It is a negative control: its mean must not rise in training.
	Shuffled bool
	// FormatWeight is w in reward = (1-w) score + w format. 0: there is no format in it.
	FormatWeight float64
	// Shaping is added to that.
	Shaping Shaping
	// Scorer computes the score. A *Program must be closed after use.
	Scorer Scorer
}

// Grade gives the rewards of attempts, in order.
func (r Reward) Grade(ctx context.Context, attempts []Attempt) ([]Graded, error) {
	scores, err := r.Scorer.Score(ctx, attempts)
	if err != nil {
		return nil, err
	}
	if len(scores) != len(attempts) {
		return nil, fmt.Errorf("reward %s: %d rewards for %d episodes: a Scorer must give one each", r.Name,
			len(scores),
			len(attempts))
	}
	out := make([]Graded, len(scores))
	for i, v := range scores {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil, fmt.Errorf("reward %s: the reward of question %s is %v: rewards must be finite numbers", r.Name,
				attempts[i].QuestionID, v)
		}
		out[i] = r.grade(attempts[i], v)
	}
	return out, nil
}

const (
	formatPrefix = "format+"
	execPrefix   = "exec:"
)

var table = []Reward{
	{Name: "f1", Scorer: outcome(F1)},
	{Name: "em", Scorer: outcome(EM)},
	{Name: "sub_em", Scorer: outcome(SubEM)},
	{Name: "format", Scorer: Func(Format)},
	{Name: "shuffled", Shuffled: true, Scorer: outcome(F1)},
	// The same reward for every episode: all advantages are zero, so the policy must not learn anything. It is a
	// negative control.
	{Name: "constant", Scorer: Func(func(Attempt) float64 { return 1 })},
}

// Names lists the rewards that Lookup knows.
func Names() []string {
	names := make([]string, len(table))
	for i, r := range table {
		names[i] = r.Name
	}
	return append(names, formatPrefix+"NAME", execPrefix+"PROGRAM")
}

// Lookup finds a reward by name; the error lists the known names. "format+NAME" mixes the format into another reward.
// "exec:PROGRAM ARGUMENTS" is a reward program (see Program); Lookup does not start it.
func Lookup(name string) (Reward, error) {
	if inner, ok := strings.CutPrefix(name, formatPrefix); ok && inner != "format" &&
		!strings.HasPrefix(inner, formatPrefix) {
		r, err := Lookup(inner)
		r.Name, r.FormatWeight = name, DefaultFormatWeight
		return r, err
	}
	if command, ok := strings.CutPrefix(name, execPrefix); ok {
		words := strings.Fields(command)
		if len(words) == 0 {
			return Reward{}, fmt.Errorf("reward %q: no program is named: write it as exec:./reward.py", name)
		}
		return Reward{Name: name, Scorer: &Program{Command: words}}, nil
	}
	i := slices.IndexFunc(table, func(r Reward) bool { return r.Name == name })
	if i < 0 {
		return Reward{}, fmt.Errorf("reward %q: no such reward: use one of %s", name, strings.Join(Names(), ", "))
	}
	return table[i], nil
}
