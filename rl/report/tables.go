package report

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// costTiles give the cost of searching, if the run recorded it.
func (r *Run) costTiles() (out []tile) {
	queries := sum(r.rows, "cost/queries")
	if queries == 0 {
		return nil
	}
	note := ""
	if cached := sum(r.rows, "perf/search_cached"); cached > 0 {
		note = number(cached) + " from the cache"
	}
	out = append(out, tile{"Queries", number(queries), note})
	if tokens := sum(r.rows, "cost/prompt_tokens") + sum(r.rows, "cost/completion_tokens"); tokens > 0 {
		out = append(out, tile{"Tokens of the simulator", number(tokens),
			number(sum(r.rows, "cost/completion_tokens")) + " of them written"})
	}
	usd, google := sum(r.rows, "perf/search_usd"), sum(r.rows, "cost/google_usd")
	value, note := "not priced", "google: $"+number(google) // the run has no price of an hour of this machine
	if usd > 0 {
		value = "$" + number(usd)
		if usd < 0.001 {
			value = "under $0.001"
		}
		if google > 0 {
			note = fmt.Sprintf("%.1f%% less than google's $%s", 100*(1-usd/google), number(google))
		}
		if usd >= google {
			note = ""
		}
	}
	return append(out, tile{"Cost of searching", value, note})
}

// evalColumns are the columns of eval tables, in this order; other numbers follow.
var evalColumns = []string{"method", "source", "engine", "tau", "n", "em", "f1", "sub_em", "searches_per_question",
	"valid_action_rate", "finish_rate"}

// tables gives the scores on held-out questions during training, and those of the files eval*.json in the run
// directory.
func (r *Run) tables() (out []table) {
	if t, ok := r.validation(); ok {
		out = append(out, t)
	}
	for _, e := range r.evals {
		t := table{Title: e.File, Note: strings.Trim(cmp.Or(e.Engine, e.Mode)+" search · "+e.Model, " ·")}
		if strings.Contains(e.Engine, "simulated") {
			t.Note += " · the engine was told the answers: compare its rows with simulated rows only"
		}
		var columns []string
		for _, s := range e.Sources {
			for name, v := range s {
				if cell(s, name) != "" && !slices.Contains(columns, name) &&
					(slices.Contains(evalColumns, name) || isNumber(v)) {
					columns = append(columns, name)
				}
			}
		}
		slices.SortFunc(columns,
			func(a, b string) int { return cmp.Or(cmp.Compare(columnOrder(a), columnOrder(b)), cmp.Compare(a, b)) })
		for _, c := range columns {
			t.Columns = append(t.Columns, strings.ReplaceAll(c, "_", " "))
		}
		for _, s := range e.Sources {
			var cells []string
			for _, c := range columns {
				cells = append(cells, cmp.Or(cell(s, c), "–"))
			}
			t.Rows = append(t.Rows, cells)
		}
		out = append(out, t)
	}
	return out
}

func isNumber(v any) bool {
	_, ok := v.(float64)
	return ok
}

// cell is a value of a row with its confidence interval, which has the name of the value followed by _ci.
func cell(row map[string]any, name string) string {
	switch v := row[name].(type) {
	case string:
		return v
	case float64:
		if ci, ok := row[name+"_ci"].([]any); ok && len(ci) == 2 && isNumber(ci[0]) && isNumber(ci[1]) {
			return fmt.Sprintf("%s (%s–%s)", number(v), number(ci[0].(float64)), number(ci[1].(float64)))
		}
		return number(v)
	}
	return ""
}

// columnOrder is the position of a column in a table.
func columnOrder(column string) int {
	if i := slices.Index(evalColumns, column); i >= 0 {
		return i
	}
	return len(evalColumns)
}

// validation is a table of the metrics val/SOURCE/SCORE: their first, last and best values.
func (r *Run) validation() (table, bool) {
	type history struct{ first, best, last float64 }
	found := map[string]map[string]*history{} // by source and score
	steps := map[int]bool{}
	for _, row := range r.rows {
		for name, v := range row.Metrics {
			rest, ok := strings.CutPrefix(name, "val/")
			at := strings.LastIndexByte(rest, '/')
			if !ok || at < 0 {
				continue
			}
			source, score := rest[:at], rest[at+1:]
			if found[source] == nil {
				found[source] = map[string]*history{}
			}
			f := found[source][score]
			if f == nil {
				f = &history{v, v, v}
				found[source][score] = f
			}
			f.best, f.last = max(f.best, v), v
			steps[row.Step] = true
		}
	}
	if len(found) == 0 {
		return table{}, false
	}
	at := slices.Sorted(maps.Keys(steps))
	t := table{Title: "Held-out questions while training", Columns: []string{"data source"},
		Note: fmt.Sprintf("greedy, with the run's own search engine; steps %d to %d: first → last (best)", at[0],
			at[len(at)-1])}
	columns := []string{"f1", "em", "sub_em"}
	t.Columns = append(t.Columns, "F1", "exact match", "contained")
	sources := slices.SortedFunc(maps.Keys(found), func(a, b string) int {
		return cmp.Or(cmp.Compare(boolInt(a == "all"), boolInt(b == "all")), cmp.Compare(a, b))
	})
	for _, s := range sources {
		cells := []string{s}
		for _, c := range columns {
			cell := "–"
			if f := found[s][c]; f != nil {
				cell = fmt.Sprintf("%s → %s (%s)", number(f.first), number(f.last), number(f.best))
			}
			cells = append(cells, cell)
		}
		t.Rows = append(t.Rows, cells)
	}
	return t, true
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}
