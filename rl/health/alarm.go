package health

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Alarm says that a run has crossed a threshold.
type Alarm struct {
	// Rule is the rule as --stop-when names it, such as likelihood or env/valid_action_rate<0.2.
	Rule string
	// Step is the step that crossed it, Value the metric's value then, and Limit the value that it should not cross.
	Step         int
	Metric       string
	Value, Limit float64
	// Text says what was measured, and against what.
	Text string
}

// Rule is a threshold of a metric. The zero value is of no use: see ParseRules.
type Rule struct {
	name   string
	metric []string // the first that a step has
	limit  float64  // as given by the user
	check  func(r *Rule, s series) *Alarm
	// what the metric is called in a sentence
	what string
}

// Name is the rule as --stop-when names it.
func (r *Rule) Name() string { return r.name }

// window is of how many steps the values at both ends of a run are the mean.
const window = 3

// named are the rules that have a name, with the limits that they have by default.
var named = []Rule{
	// Lazy likelihood displacement shows first in the likelihood of responses, then in the entropy (arXiv 2512.04220).
	{name: "likelihood", metric: []string{"rollout/logprob_mean"}, limit: 1, check: (*Rule).fell,
		what: "mean log-probability of sampled tokens"},
	{name: "entropy", metric: []string{"actor/entropy"}, limit: 3, check: (*Rule).grew, what: "entropy"},
	{name: "kl", metric: []string{"actor/kl_loss", "actor/reward_kl_penalty"}, limit: 1, check: (*Rule).high,
		what: "KL from the reference"},
	{name: "valid-actions", metric: []string{"env/valid_action_rate"}, limit: 0.5, check: (*Rule).shrank,
		what: "share of valid actions"},
	{name: "held-out", metric: []string{HeldOutF1}, limit: 0.1, check: (*Rule).belowBest, what: "held-out F1"},
}

// ParseRules reads a list of rules, separated by commas: NAME, NAME:LIMIT, METRIC<VALUE or METRIC>VALUE.
func ParseRules(text string) (out []Rule, err error) {
	for part := range strings.SplitSeq(text, ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		r, err := parseRule(part)
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

func parseRule(text string) (Rule, error) {
	if at := strings.IndexAny(text, "<>"); at > 0 {
		r := Rule{name: text, metric: []string{strings.TrimSpace(text[:at])}, check: (*Rule).last}
		var err error
		if r.limit, err = strconv.ParseFloat(strings.TrimSpace(text[at+1:]), 64); err != nil || !finite(r.limit) {
			return r, fmt.Errorf("%q: expected a finite number after %c", text, text[at])
		}
		return r, nil
	}
	name, limit, given := strings.Cut(text, ":")
	at := slices.IndexFunc(named, func(r Rule) bool { return r.name == name })
	if at < 0 {
		var names []string
		for _, r := range named {
			names = append(names, r.name)
		}
		return Rule{}, fmt.Errorf("%q is no rule: use %s, with :LIMIT or without, METRIC<VALUE or METRIC>VALUE", text,
			strings.Join(names, ", "))
	}
	r := named[at]
	if given {
		var err error
		if r.limit, err = strconv.ParseFloat(limit, 64); err != nil || !finite(r.limit) || r.limit <= 0 {
			return r, fmt.Errorf("%q: the limit must be a finite number above 0", text)
		}
		r.name = text
	}
	return r, nil
}

// Missing reports whether a step that was trained lacks the metric of the rule. Those of evaluations are not in every
// step.
func (r *Rule) Missing(s Step) bool {
	return !slices.ContainsFunc(r.metric, func(m string) bool {
		_, ok := s.Metrics[m]
		return ok || strings.HasPrefix(m, "val/")
	})
}

// Alarm is what the rule says after the last of steps; nil if its metric is within the limit or was not measured in
// that step.
func (r *Rule) Alarm(steps []Step) *Alarm {
	for _, m := range r.metric {
		s := seriesOf(steps, m)
		if n := len(s.values); n == 0 || s.step[n-1] != steps[len(steps)-1].Step {
			continue
		}
		a := r.check(r, s)
		if a != nil {
			a.Rule, a.Metric, a.Step = r.name, m, s.step[len(s.step)-1]
		}
		return a
	}
	return nil
}

// ends are the mean values of the first and of the last steps, where these are not the same steps.
func (r *Rule) ends(s series) (from, to float64, ok bool) {
	if len(s.values) < 2*window {
		return 0, 0, false
	}
	from, to = s.ends(window)
	return from, to, true
}

// fell: the metric is more than the limit below its beginning.
func (r *Rule) fell(s series) *Alarm {
	from, to, ok := r.ends(s)
	if !ok || from-to <= r.limit {
		return nil
	}
	return &Alarm{Value: to, Limit: from - r.limit, Text: fmt.Sprintf("the %s fell from %.3g in the first %d steps to "+
		"%.3g in the last %d, by more than %g", r.what, from, window, to, window, r.limit)}
}

// grew: the metric is more than limit times its beginning.
func (r *Rule) grew(s series) *Alarm {
	from, to, ok := r.ends(s)
	if !ok || to <= r.limit*from {
		return nil
	}
	return &Alarm{Value: to, Limit: r.limit * from, Text: fmt.Sprintf("the %s rose from %.3g in the first %d steps to "+
		"%.3g in the last %d, to more than %g times as much", r.what, from, window, to, window, r.limit)}
}

// shrank: the metric is below limit times its beginning.
func (r *Rule) shrank(s series) *Alarm {
	from, to, ok := r.ends(s)
	if !ok || to >= r.limit*from {
		return nil
	}
	return &Alarm{Value: to, Limit: r.limit * from, Text: fmt.Sprintf("the %s fell from %.3g in the first %d steps to "+
		"%.3g in the last %d, to less than %g times as much", r.what, from, window, to, window, r.limit)}
}

// high: the metric is above the limit.
func (r *Rule) high(s series) *Alarm {
	if len(s.values) < window {
		return nil
	}
	if _, to := s.ends(window); to > r.limit {
		return &Alarm{Value: to, Limit: r.limit, Text: fmt.Sprintf("the %s was %.3g in the last %d steps, more than %g",
			r.what, to, window, r.limit)}
	}
	return nil
}

// belowBest: two values in a row are more than the limit below the best before them.
func (r *Rule) belowBest(s series) *Alarm {
	n := len(s.values)
	if n < 3 {
		return nil
	}
	before := series{s.step[:n-2], s.values[:n-2]}
	at := before.best()
	best, now := before.values[at], max(s.values[n-1], s.values[n-2])
	if best-now <= r.limit {
		return nil
	}
	return &Alarm{Value: s.values[n-1], Limit: best - r.limit, Text: fmt.Sprintf("the %s was %.3g at step %d and %.3g "+
		"and %.3g in the last two evaluations, more than %g less", r.what, best, before.step[at], s.values[n-2],
		s.values[n-1], r.limit)}
}

// last: the value of the last step is on the wrong side of the limit.
func (r *Rule) last(s series) *Alarm {
	v := s.values[len(s.values)-1]
	if below := strings.Contains(r.name, "<"); below && v >= r.limit || !below && v <= r.limit {
		return nil
	}
	return &Alarm{Value: v, Limit: r.limit, Text: fmt.Sprintf("%s is %.4g", r.metric[0], v)}
}

func finite(x float64) bool { return x-x == 0 }

// ReadSteps reads the steps that a run directory records; a line that cannot be read is left out.
func ReadSteps(dir string) (steps []Step) {
	text, err := os.ReadFile(filepath.Join(dir, "metrics.jsonl"))
	if err != nil {
		return nil // there are none
	}
	for line := range strings.Lines(string(text)) {
		if s, err := Parse([]byte(line)); err == nil {
			steps = append(steps, s)
		}
	}
	return steps
}
