// Package health judges a run by its metrics: whether it can learn, learns, is flat or has collapsed. It says so in
// words, with what to do.
package health

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
)

// Step is a line of metrics.jsonl: the number of a step and its metrics by name.
type Step struct {
	Step    int
	Metrics map[string]float64
}

// Parse reads a line of metrics.jsonl. A metric that is null, because it was not finite, is left out.
func Parse(line []byte) (Step, error) {
	var values map[string]*float64
	if err := json.Unmarshal(line, &values); err != nil {
		return Step{}, err
	}
	if values["step"] == nil {
		return Step{}, errors.New("no step")
	}
	s := Step{int(*values["step"]), map[string]float64{}}
	for name, v := range values {
		if v != nil && name != "step" {
			s.Metrics[name] = *v
		}
	}
	return s, nil
}

// State says how a run goes, or how bad a finding is.
type State string

// The states.
const (
	// Early means that there are too few steps to say more.
	Early State = "early"
	// Learning means that the reward rises, or that the loss of fine-tuning falls.
	Learning State = "learning"
	// Steady means that the reward stays where little is left to learn, or while the search engine becomes noisier.
	Steady State = "steady"
	// Warned is the state of a finding that does not keep a run from learning.
	Warned State = "warning"
	// Flat means that the reward does not change.
	Flat State = "flat"
	// Worse means that the reward falls, or that the loss of fine-tuning rises.
	Worse State = "getting_worse"
	// Collapsed means that a run has lost what it had learned.
	Collapsed State = "collapsed"
	// CannotLearn means that the updates have nothing to learn from.
	CannotLearn State = "cannot_learn"
)

// Words are the state in words.
func (s State) Words() string {
	if s == Early {
		return "too early to say"
	}
	return strings.ReplaceAll(string(s), "_", " ")
}

// severity orders the states of findings; other states are 0.
func (s State) severity() int {
	return slices.Index([]State{"", Warned, Flat, Worse, Collapsed, CannotLearn}, s)
}

// WorseThan says whether a state of findings is worse than another.
func (s State) WorseThan(o State) bool { return s.severity() > o.severity() }

// Finding is something that is wrong with a run.
type Finding struct {
	// Kind names what is wrong. It stays the same while the numbers in Text change.
	Kind Kind
	// State is how bad it is: Warned or worse.
	State State
	// Text says what was measured, what it means, and what to do.
	Text string
}

// Verdict is the judgement of a run after its last step.
type Verdict struct {
	// State is that of the worst finding, or how the reward goes if there are no findings but warnings.
	State State
	// Summary says how reward and held-out F1, or the loss, went; "" before the first step.
	Summary string
	// Findings are what is wrong, the worst first.
	Findings []Finding
}

// Judge judges a run after the last of its steps, which are in ascending order.
func Judge(steps []Step) Verdict {
	v := Verdict{State: direction(steps), Summary: summary(steps)}
	for _, check := range checks {
		if f := check(steps); f != nil {
			v.Findings = append(v.Findings, *f)
		}
	}
	slices.SortStableFunc(v.Findings, func(a, b Finding) int { return b.State.severity() - a.State.severity() })
	if len(v.Findings) == 0 || v.Findings[0].State == Warned {
		return v
	}
	v.State = v.Findings[0].State
	if v.State.WorseThan(Worse) { // the reason why the reward does not rise is known
		v.Findings = slices.DeleteFunc(v.Findings, func(f Finding) bool { return f.Kind == NotRising })
	}
	return v
}
