package eval

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/zerosearch-go/zerosearch/rl/episode"
	"github.com/zerosearch-go/zerosearch/rl/search"
)

// Evaluation is the result of the command eval.
type Evaluation struct {
	Model      string      `json:"model"`
	SearchMode string      `json:"search_mode"`
	Engine     string      `json:"engine"` // simulated, bm25 and others: rows of different engines are not comparable
	Sources    []Row       `json:"sources"`
	Seconds    float64     `json:"seconds"` // of this process; earlier, interrupted processes are not included
	Tokens     int64       `json:"tokens"`  // sampled tokens, of the policy and the simulator
	Cost       search.Cost `json:"cost"`    // cost of the searches
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

// SimulatedNote says with which rows the rows of a simulated engine may be compared.
const SimulatedNote = "a simulated engine was told the answers: compare these rows with simulated rows only"

// Markdown writes a table like the paper's for each score, then a table of all counts and rates.
func (e *Evaluation) Markdown(b *bytes.Buffer, boot Bootstrap) {
	fmt.Fprintf(b, "Model: %s. Search: %s.", e.Model, e.SearchMode)
	if boot.Resamples > 0 {
		fmt.Fprintf(b, " Intervals: %g%%, bootstrap of %d resamples.", 100*boot.Level, boot.Resamples)
	}
	if strings.Contains(e.Engine, "simulated") {
		b.WriteString(" Note: " + SimulatedNote + ".")
	}
	b.WriteByte('\n')
	for _, s := range Scores() {
		fmt.Fprintf(b, "\n%s, %%:\n\n", s.Title())
		PaperTable(e.Sources, s).Markdown(b)
	}
	b.WriteString("\nEverything counted:\n\n")
	Details(e.Sources).Markdown(b)
}
