package reward

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
)

// Attempt is what a reward sees of an episode.
type Attempt struct {
	QuestionID    string   `json:"question_id"`
	Question      string   `json:"question"`
	GoldenAnswers []string `json:"golden_answers"`
	DataSource    string   `json:"data_source"`
	// Answer is the policy's, nil if it gave none; Status says how the episode ended.
	Answer *string `json:"answer"`
	Status string  `json:"status"`
	Turns  []Turn  `json:"turns"`
	// Columns is the question's row as it stands in the data.
	Columns map[string]json.RawMessage `json:"columns"`
}

// Turn is one turn of the policy: its own text, its action (search, answer or invalid), and what a search gave.
// Prefill is what the prompt held of the turn already: "<think>\n" in the first turn under a chat template that
// begins the policy's thought.
type Turn struct {
	Prefill   string   `json:"prefill,omitempty"`
	Text      string   `json:"text"`
	Action    string   `json:"action"`
	Query     string   `json:"query,omitempty"`
	Documents []string `json:"documents,omitempty"`
}

// Scorer gives rewards. A Go program trains with a reward of its own by setting the Scorer of a trainer's Reward.
type Scorer interface {
	// Score gives a finite reward for each attempt, in order. It must depend on the attempts alone, or runs cannot be repeated. An error
	// ends the run.
	Score(ctx context.Context, attempts []Attempt) ([]float64, error)
}

// Func is a Scorer that looks at one attempt at a time.
type Func func(a Attempt) float64

// Score calls f for each attempt.
func (f Func) Score(ctx context.Context, attempts []Attempt) ([]float64, error) {
	out := make([]float64, len(attempts))
	for i, a := range attempts {
		out[i] = f(a)
	}
	return out, ctx.Err()
}

// outcome makes a reward of a measure of answers; no answer is worth nothing.
func outcome(f func(answer string, golds []string) float64) Func {
	return func(a Attempt) float64 {
		if a.Answer == nil {
			return 0
		}
		return f(*a.Answer, a.GoldenAnswers)
	}
}

// DefaultFormatWeight is the share of the format in a reward format+NAME.
const DefaultFormatWeight = 0.2

// Reward is a named reward.
type Reward struct {
	// Name is the one given to Lookup.
	Name string
	// Shuffled says that the caller must score against the golds of another question, found by Others: a negative control
	// whose mean must not rise in training.
	Shuffled bool
	// FormatWeight w mixes the format in: (1-w) score + w format. 0: the score alone.
	FormatWeight float64
	// Scorer gives the score; a *Program must be started and closed.
	Scorer Scorer
}

// Score gives the rewards of attempts, in order.
func (r Reward) Score(ctx context.Context, attempts []Attempt) ([]float64, error) {
	out, err := r.Scorer.Score(ctx, attempts)
	if err != nil {
		return nil, err
	}
	if len(out) != len(attempts) {
		return nil, fmt.Errorf("reward %s: %d rewards for %d episodes: a Scorer must give one each", r.Name, len(out), len(attempts))
	}
	for i, v := range out {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil, fmt.Errorf("reward %s: the reward of question %s is %v: rewards must be finite numbers", r.Name, attempts[i].QuestionID, v)
		}
		if r.FormatWeight > 0 {
			out[i] = (1-r.FormatWeight)*v + r.FormatWeight*Format(attempts[i])
		}
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
	// The same reward for every episode: all advantages are zero, nothing may be learned.
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

// Lookup finds a reward by name; the error lists the names there are. "format+NAME" mixes the format into another reward;
// "exec:PROGRAM ARGUMENTS" asks a program (see Program), which is not started yet.
func Lookup(name string) (Reward, error) {
	if inner, ok := strings.CutPrefix(name, formatPrefix); ok && inner != "format" && !strings.HasPrefix(inner, formatPrefix) {
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
