package eval

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// Grid is a table of text.
type Grid struct {
	Head []string
	Rows [][]string
	Left int // number of columns, from the first, that are aligned to the left; the others are aligned to the right
}

// Text writes the grid as plain text for a terminal.
func (g Grid) Text(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, r := range append([][]string{g.Head}, g.Rows...) {
		fmt.Fprintln(tw, strings.Join(r, "\t")+"\t")
	}
	return tw.Flush()
}

// Markdown writes the grid as a table of Markdown.
func (g Grid) Markdown(w io.Writer) error {
	var b strings.Builder
	line := func(cells []string) {
		for _, c := range cells {
			b.WriteString("| " + strings.ReplaceAll(c, "|", `\|`) + " ")
		}
		b.WriteString("|\n")
	}
	line(g.Head)
	rule := make([]string, len(g.Head))
	for i := range rule {
		if rule[i] = "---"; i >= g.Left {
			rule[i] = "---:"
		}
	}
	line(rule)
	for _, r := range g.Rows {
		line(r)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// Score names one of the three scores.
type Score string

// The three scores. ScoreSubEM is the score that ZeroSearch's paper calls EM.
const (
	ScoreEM    Score = "em"
	ScoreF1    Score = "f1"
	ScoreSubEM Score = "sub_em"
)

// Scores lists the three scores in the order of tables.
func Scores() []Score { return []Score{ScoreEM, ScoreF1, ScoreSubEM} }

// Title is the name of a score in tables.
func (s Score) Title() string {
	return map[Score]string{ScoreEM: "EM (strict)", ScoreF1: "F1",
		ScoreSubEM: "sub-EM (containment; \"EM\" in ZeroSearch's paper)"}[s]
}

// Of gives the value of the score in a row, and its confidence interval.
func (s Score) Of(r Row) (float64, *Interval) {
	switch s {
	case ScoreEM:
		return r.EM, r.EMCI
	case ScoreF1:
		return r.F1, r.F1CI
	}
	return r.SubEM, r.SubEMCI
}

// PaperTable arranges the rows of several methods as papers do: one line for each method, one column for each data
// source, the average in the last column. Values are in percent.
func PaperTable(rows []Row, s Score) Grid {
	var sources []string
	averaged := false
	var methods []Method
	cells := map[Method]map[string]string{}
	label := map[Method]string{}
	for _, r := range rows {
		if cells[r.Method] == nil {
			cells[r.Method] = map[string]string{}
			methods = append(methods, r.Method)
			label[r.Method] = r.Method.Title()
			if l := r.Label(); r.Method.Searches() {
				label[r.Method] += ", " + l
			}
		}
		switch {
		case r.Source == Average:
			averaged = true
		case r.Source != All && !slices.Contains(sources, r.Source):
			sources = append(sources, r.Source)
		}
		cells[r.Method][r.Source] = percent(s.Of(r))
	}
	SortSources(sources)
	if averaged {
		sources = append(sources, Average)
	}
	g := Grid{Head: []string{"Method"}, Left: 1}
	for _, name := range sources {
		g.Head = append(g.Head, Title(name))
	}
	for _, m := range methods {
		line := []string{label[m]}
		for _, name := range sources {
			line = append(line, cells[m][name])
		}
		g.Rows = append(g.Rows, line)
	}
	return g
}

// Label is the name of a row's search engine, with tau for a simulated one.
func (r Row) Label() string {
	if r.Tau != nil {
		return fmt.Sprintf("%s tau=%g", r.Engine, *r.Tau)
	}
	return r.Engine
}

// percent writes a share and its confidence interval in percent.
func percent(x float64, ci *Interval) string {
	if ci == nil {
		return fmt.Sprintf("%.1f", 100*x)
	}
	return fmt.Sprintf("%.1f [%.1f, %.1f]", 100*x, 100*ci[0], 100*ci[1])
}

// Details is a table with all counts and rates, one line for each row.
func Details(rows []Row) Grid {
	g := Grid{Head: []string{"data source", "engine", "n", "em", "f1", "sub_em", "valid actions", "searches",
		"finished"}, Left: 2}
	methods := slices.ContainsFunc(rows, func(r Row) bool { return r.Method != rows[0].Method })
	ci := len(rows) > 0 && rows[0].F1CI != nil
	if ci {
		g.Head = slices.Insert(g.Head, 5, "f1 interval")
	}
	if methods {
		g.Head, g.Left = slices.Insert(g.Head, 0, "method"), 3
	}
	for _, r := range rows {
		line := []string{r.Source, r.Label(), fmt.Sprint(r.N), fmt.Sprintf("%.3f", r.EM), fmt.Sprintf("%.3f", r.F1),
			fmt.Sprintf("%.3f", r.SubEM),
			fmt.Sprintf("%.1f%%", 100*r.ValidAction), fmt.Sprintf("%.2f", r.Searches),
			fmt.Sprintf("%.1f%%", 100*r.Finish)}
		if ci {
			line = slices.Insert(line, 5, fmt.Sprintf("%.3f-%.3f", r.F1CI[0], r.F1CI[1]))
		}
		if methods {
			line = slices.Insert(line, 0, string(r.Method))
		}
		g.Rows = append(g.Rows, line)
	}
	return g
}

// SuiteTable is a table of the closed suite: a line for each method and data source, with the three scores and their
// intervals in percent, the recall of the searches with topK documents each, and what a question costs: searches,
// tokens that the policy sampled, and tokens of its context.
func SuiteTable(rows []Row, topK int) Grid {
	g := Grid{Head: []string{"Method", "Data", "n", "EM", "F1", "Containment", fmt.Sprintf("Recall@%d", topK),
		"Searches", "Sampled tokens",
		"Context tokens"}, Left: 2}
	for _, r := range rows {
		if r.Source == All { // the sources have equally many questions: it equals the average
			continue
		}
		recall := "-"
		if r.Method.Searches() {
			recall = percent(r.Recall, nil)
		}
		g.Rows = append(g.Rows, []string{r.Method.Title(), Title(r.Source), fmt.Sprint(r.N), percent(r.EM, r.EMCI),
			percent(r.F1, r.F1CI), percent(r.SubEM, r.SubEMCI), recall, fmt.Sprintf("%.2f", r.Searches),
			fmt.Sprintf("%.0f", r.Sampled), fmt.Sprintf("%.0f", r.Context)})
	}
	return g
}

// CompareTable is a table of differences, one line for each data source and score.
func CompareTable(ds []Difference) Grid {
	g := Grid{Head: []string{"data source", "score", "n", "A", "B", "B-A", "interval", "p (bootstrap)", "B better",
		"A better", "p (sign, McNemar)"}, Left: 2}
	for _, d := range ds {
		for i, p := range d.scores() {
			ci, pb := "", ""
			if p.CI != nil {
				ci, pb = fmt.Sprintf("%+.3f to %+.3f", p.CI[0], p.CI[1]), pValue(*p.PBootstrap)
			}
			g.Rows = append(g.Rows, []string{d.Source, string(Scores()[i]), fmt.Sprint(d.N), fmt.Sprintf("%.3f", p.A),
				fmt.Sprintf("%.3f", p.B), fmt.Sprintf("%+.3f", p.Diff),
				ci, pb, fmt.Sprint(p.Wins), fmt.Sprint(p.Losses), pValue(p.P)})
		}
	}
	return g
}

// pValue writes a p-value with four digits.
func pValue(p float64) string {
	if p < 0.00005 {
		return "<0.0001"
	}
	return fmt.Sprintf("%.4f", p)
}
