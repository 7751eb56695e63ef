package eval

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"github.com/zerosearch-go/zerosearch/rl/episode"
	"github.com/zerosearch-go/zerosearch/rl/search"
)

// Evaluation is the result of the command eval.
type Evaluation struct {
	Model      string      `json:"model"`
	Suite      string      `json:"suite,omitempty"` // of --suite
	TopK       int         `json:"topk,omitempty"`  // documents of a search
	SearchMode string      `json:"search_mode"`
	Engine     string      `json:"engine"` // simulated, bm25 and others: rows of different engines are not comparable
	Sources    []Row       `json:"sources"`
	Seconds    float64     `json:"seconds"` // of this process; earlier, interrupted processes are not included
	Tokens     int64       `json:"tokens"`  // sampled tokens, of the policy and the simulator
	Cost       search.Cost `json:"cost"`    // cost of the searches
}

// Add adds the rows of a method. Its engine is that of the evaluation, or none for a method that does not search; tau
// is the share of noisy documents of a simulated engine.
func (e *Evaluation) Add(results []Result, boot Bootstrap, tau *float64) {
	for _, r := range Report(results, boot) {
		r.Engine = "none"
		if r.Method.Searches() {
			if r.Engine = e.Engine; e.simulated() {
				r.Tau = tau
			}
		}
		e.Sources = append(e.Sources, r)
	}
}

func (e *Evaluation) simulated() bool { return strings.Contains(e.Engine, "simulated") }

// Write writes the evaluation as text for a terminal, as md (see Markdown) or as json.
func (e *Evaluation) Write(w io.Writer, form string, boot Bootstrap) error {
	var b bytes.Buffer
	switch {
	case form == "json":
		if err := encode(&b, e); err != nil {
			return fmt.Errorf("writing the result: %w", err)
		}
	case form == "md":
		e.Markdown(&b, boot)
	case e.Suite != "":
		SuiteTable(e.Sources, e.TopK).Text(&b)
	default:
		Details(e.Sources).Text(&b)
	}
	if _, err := w.Write(b.Bytes()); err != nil {
		return fmt.Errorf("writing the result: %w", err)
	}
	return nil
}

// Note returns the warning that rows of a simulated engine are comparable with simulated rows only, "" for other
// engines.
func (e *Evaluation) Note() string {
	if e.simulated() {
		return simulatedNote
	}
	return ""
}

// Lines writes episodes in the form of episodes.jsonl.
func Lines(all []*episode.Episode) ([]byte, error) {
	var text []byte
	for _, e := range all {
		line, err := e.Line()
		if err != nil {
			return nil, err
		}
		text = append(text, line...)
	}
	return text, nil
}

// simulatedNote is the warning about rows of a simulated engine.
const simulatedNote = "a simulated engine was told the answers: compare these rows with simulated rows only"

// Markdown writes a table like the paper's for each score, then a table of all counts and rates; for a suite, one table
// (SuiteTable).
func (e *Evaluation) Markdown(b *bytes.Buffer, boot Bootstrap) {
	fmt.Fprintf(b, "Model: %s. Search: %s.", e.Model, e.SearchMode)
	if boot.Resamples > 0 {
		fmt.Fprintf(b, " Intervals: %g%%, bootstrap of %d resamples.", 100*boot.Level, boot.Resamples)
	}
	if note := e.Note(); note != "" {
		b.WriteString(" Note: " + note + ".")
	}
	b.WriteByte('\n')
	if e.Suite != "" {
		b.WriteByte('\n')
		SuiteTable(e.Sources, e.TopK).Markdown(b)
		return
	}
	for _, s := range Scores() {
		fmt.Fprintf(b, "\n%s, %%:\n\n", s.Title())
		PaperTable(e.Sources, s).Markdown(b)
	}
	b.WriteString("\nEverything counted:\n\n")
	Details(e.Sources).Markdown(b)
}
