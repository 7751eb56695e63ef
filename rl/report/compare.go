package report

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/zerosearch-go/zerosearch/internal/disk"
	"github.com/zerosearch-go/zerosearch/rl/health"
)

// MostCompared is how many runs a page can compare: as many as there are colours.
const MostCompared = 8

// Compare writes a page with the curves of several runs to the file path: a chart for each metric, in which each run
// has a line.
func Compare(path string, runs []*Run) error {
	if len(runs) < 2 || len(runs) > MostCompared {
		return fmt.Errorf("comparing %d runs: give 2 to %d", len(runs), MostCompared)
	}
	names := runNames(runs)
	p := &page{Name: strings.Join(names, ", "), Command: "a comparison of runs", TablesTitle: "Runs"}
	rows := merged(runs)
	lines := func(metric string) (out []line) {
		for i, name := range names {
			out = append(out, line{ofRun(i, metric), name})
		}
		return out
	}
	for _, large := range []panel{{title: "Reward", hint: "mean over the episodes of a step", share: true,
		series: lines("critic/score/mean")}, {title: "Held-out F1", hint: "greedy, never trained on", share: true,
		series: lines(health.HeldOutF1)}, {title: "Loss", series: lines("train/loss")}} {
		large.runs = true
		for _, large.size = range largeFormats {
			if c, ok := draw(large, rows); ok {
				p.Large = append(p.Large, c)
			}
		}
	}
	for _, of := range panels {
		for _, l := range of.series {
			if l.metric == health.HeldOutF1 {
				continue // it has a large chart
			}
			one := panel{title: of.title, hint: of.hint, share: of.share, series: lines(l.metric), runs: true}
			if len(of.series) > 1 {
				one.title, one.hint = of.title+": "+l.label, ""
			}
			if c, ok := draw(one, rows); ok {
				p.Charts = append(p.Charts, c)
			}
		}
	}
	p.Evals = append(p.Evals, summaries(runs, names), differences(runs, names))
	text, err := p.render()
	if err != nil {
		return err
	}
	if err := disk.WriteFile(path, text); err != nil {
		return fmt.Errorf("writing the comparison: %w", err)
	}
	return nil
}

// runNames are the names of the runs' folders, or their whole paths where two have the same name.
func runNames(runs []*Run) (names []string) {
	for _, r := range runs {
		dir, err := filepath.Abs(r.dir)
		if err != nil {
			dir = r.dir
		}
		names = append(names, filepath.Base(dir))
	}
	if len(slices.Compact(slices.Sorted(slices.Values(names)))) < len(names) {
		for i, r := range runs {
			names[i] = r.dir
		}
	}
	return names
}

// ofRun is the name of a metric of run i among those of all runs.
func ofRun(i int, metric string) string { return fmt.Sprintf("%d %s", i, metric) }

// merged are the steps of all runs, each metric by ofRun.
func merged(runs []*Run) (rows []health.Step) {
	at := map[int]map[string]float64{}
	for i, r := range runs {
		for _, row := range r.rows {
			if at[row.Step] == nil {
				at[row.Step] = map[string]float64{}
			}
			for name, v := range row.Metrics {
				at[row.Step][ofRun(i, name)] = v
			}
		}
	}
	for _, step := range slices.Sorted(maps.Keys(at)) {
		rows = append(rows, health.Step{Step: step, Metrics: at[step]})
	}
	return rows
}

// summaries is a table with a row for each run.
func summaries(runs []*Run, names []string) table {
	t := table{Title: "How they went", Plain: true, Columns: []string{"run", "verdict", "steps", "reward or loss",
		"held-out F1", "time in steps"}}
	for i, r := range runs {
		cells := []string{names[i], "–", "0", "–", "–", duration(sum(r.rows, "timing_s/step"))}
		if n := len(r.rows); n > 0 {
			cells[1], cells[2] = health.Judge(r.rows).State.Words(), fmt.Sprint(r.rows[n-1].Step)
		}
		for _, c := range []struct {
			metric string
			cell   int
		}{{"train/loss", 3}, {"critic/score/mean", 3}, {health.HeldOutF1, 4}} {
			if from, to, k := health.Ends(r.rows, c.metric); k > 0 {
				cells[c.cell] = number(from) + " → " + number(to)
			}
		}
		t.Rows = append(t.Rows, cells)
	}
	return t
}

// differences is a table of the settings that are not the same in all runs.
func differences(runs []*Run, names []string) table {
	t := table{Title: "Settings that differ", Plain: true, Columns: append([]string{"setting"}, names...)}
	all := map[string]bool{}
	for _, r := range runs {
		for name := range r.config {
			all[name] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		cells, differ := []string{name}, false
		for _, r := range runs {
			differ = differ || !same(r.config[name], runs[0].config[name])
			cells = append(cells, r.option(name))
		}
		if differ {
			t.Rows = append(t.Rows, cells)
		}
	}
	return t
}
