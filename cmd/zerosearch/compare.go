package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/zerosearch-go/zerosearch/internal/pyjson"
	"github.com/zerosearch-go/zerosearch/rl/eval"
)

// comparison is the result of eval --compare.
type comparison struct {
	A           compared          `json:"a"`
	B           compared          `json:"b"`
	Note        string            `json:"note,omitempty"` // why the two may not be comparable
	Differences []eval.Difference `json:"differences"`
}

// compared is one side of it.
type compared struct {
	Run    string      `json:"run"`
	Model  string      `json:"model"`
	Method eval.Method `json:"method"`
	Engine string      `json:"engine"`

	results []eval.Result
}

// compare pairs two evaluations question by question.
func (c *evalCmd) compare(w *world, boot eval.Bootstrap) error {
	if !c.Compare || len(c.Runs) != 2 {
		return usagef("--compare takes two evaluations, as in: zerosearch eval --compare runs/a runs/b")
	}
	var out comparison
	var err error
	if out.A, err = readEvaluation(c.Runs[0]); err == nil {
		out.B, err = readEvaluation(c.Runs[1])
	}
	if err != nil {
		return err
	}
	if out.Differences, err = eval.Compare(out.A.results, out.B.results, boot); err != nil {
		return fmt.Errorf("comparing %s with %s: %w", c.Runs[0], c.Runs[1], err)
	}
	told := func(x compared) bool { return strings.Contains(x.Engine, "simulated") }
	switch {
	case told(out.A) != told(out.B):
		out.Note = fmt.Sprintf("A searched with %s, B with %s: a simulated engine is told the answers, so the difference is not one of the models alone", out.A.Engine, out.B.Engine)
	case out.A.Engine != out.B.Engine && out.A.Method.Searches() && out.B.Method.Searches():
		out.Note = fmt.Sprintf("A searched with %s, B with %s: the difference is not one of the models alone", out.A.Engine, out.B.Engine)
	}
	return out.print(w, c.Output, c.JSON)
}

// readEvaluation reads a folder that eval --out made, or one method of it: DIR:METHOD. Without one it is the agent, or the only method there.
func readEvaluation(run string) (compared, error) {
	dir, method := run, ""
	if i := strings.LastIndexByte(run, ':'); i >= 0 && !exists(run) {
		dir, method = run[:i], run[i+1:]
	}
	out := compared{Run: dir}
	fail := func(format string, args ...any) (compared, error) {
		return out, fmt.Errorf("reading the evaluation %s: %w", dir, fmt.Errorf(format, args...))
	}
	var e evaluation
	text, err := os.ReadFile(filepath.Join(dir, "eval.json"))
	if err == nil {
		err = pyjson.Unmarshal(text, &e)
	}
	if err != nil {
		return fail("%w: make one with zerosearch eval --out DIR", err)
	}
	out.Model = e.Model
	var methods []string
	engines := map[string]string{}
	for _, r := range e.Sources {
		if engines[string(r.Method)] == "" {
			methods = append(methods, string(r.Method))
		}
		engines[string(r.Method)] = r.Label()
	}
	switch {
	case method != "":
	case len(methods) == 1:
		method = methods[0]
	default:
		method = string(eval.Agent)
	}
	out.Method, out.Engine = eval.Method(method), engines[method]
	if out.Engine == "" {
		return fail("it has no method %q: it has %s", method, strings.Join(methods, ", "))
	}
	err = wholeLines(filepath.Join(dir, "results.jsonl"), func(line []byte) error {
		var r eval.Result
		if err := pyjson.Unmarshal(line, &r); err != nil {
			return err
		}
		if r.Method == out.Method {
			out.results = append(out.results, r)
		}
		return nil
	})
	if err != nil {
		return fail("results.jsonl: %w: evaluate again", err)
	}
	return out, nil
}

// print shows the comparison in the form that was asked for.
func (c comparison) print(w *world, form string, asJSON bool) error {
	if asJSON || form == "json" {
		return writeJSON(w, c)
	}
	var b bytes.Buffer
	for _, x := range []struct {
		name string
		compared
	}{{"A", c.A}, {"B", c.B}} {
		fmt.Fprintf(&b, "%s: %s, %s of %s, search %s\n", x.name, x.Run, x.Method, x.Model, x.Engine)
		if form == "md" {
			b.WriteByte('\n')
		}
	}
	if form == "md" {
		eval.CompareTable(c.Differences).Markdown(&b)
	} else {
		eval.CompareTable(c.Differences).Text(&b)
	}
	if c.Note != "" {
		fmt.Fprintf(&b, "\nNote: %s.\n", c.Note)
	}
	if _, err := w.out.Write(b.Bytes()); err != nil {
		return fmt.Errorf("writing the comparison: %w", err)
	}
	return nil
}
