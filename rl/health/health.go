// Package health judges from the metrics of a run whether it can learn, and says in words what is wrong and what to do.
package health

import (
	"encoding/json"
	"errors"
	"fmt"
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

// Finding is something that is wrong with a run.
type Finding struct {
	// Kind names what is wrong. It stays the same while the numbers in Text change.
	Kind Kind
	// Text is a sentence for the user: what was measured, what it means, and what to do.
	Text string
}

// Kind is a kind of finding.
type Kind string

// The kinds of findings.
const (
	// EngineIgnorant means that useful results rarely contain an accepted answer.
	EngineIgnorant Kind = "engine_ignorant"
	// NoiseHasAnswer means that noisy results contain an accepted answer about as often as useful ones.
	NoiseHasAnswer Kind = "noise_has_answer"
)

const (
	recent     = 10 // the last steps that a judgement looks at
	minResults = 20 // search results below which a share of them is not judged
	minUseful  = 0.5
	maxNoisy   = 0.5 // of the share of useful results with an answer
)

// Judge says what is wrong after the last of the steps, which are in ascending order; nil if nothing is.
func Judge(steps []Step) (found []Finding) {
	last := steps[max(0, len(steps)-recent):]
	useful, usefulResults := hasAnswer(last, "search/useful_has_answer", func(rate float64) float64 { return rate })
	noisy, noisyResults := hasAnswer(last, "search/noisy_has_answer", func(rate float64) float64 { return 1 - rate })
	if usefulResults >= minResults && useful < minUseful {
		found = append(found, Finding{EngineIgnorant, fmt.Sprintf("only %.0f%% of the useful search results contain "+
			"the answer: the simulated engine does not know enough, and the policy learns not to trust it: use a "+
			"better --simulation-llm, or --search-mode simulate_prompt", 100*useful)})
	}
	if usefulResults >= minResults && noisyResults >= minResults && noisy > maxNoisy*useful {
		found = append(found, Finding{NoiseHasAnswer, fmt.Sprintf("%.0f%% of the noisy search results contain the "+
			"answer, and %.0f%% of the useful ones: the simulated engine hardly tells them apart, so that tau changes "+
			"little: use a better --simulation-llm", 100*noisy, 100*useful)})
	}
	return found
}

// hasAnswer is the share of results with an answer over several steps, and about how many results it is a share of. of
// is the share of results that are of the kind, from that of useful ones.
func hasAnswer(steps []Step, metric string, of func(useful float64) float64) (share, results float64) {
	for _, s := range steps {
		if v, ok := s.Metrics[metric]; ok {
			m := s.Metrics
			n := m["rollout/episodes"] * m["search/per_question"] * of(m["search/useful_rate"])
			share, results = share+v*n, results+n
		}
	}
	return share / max(results, 1e-9), results
}
