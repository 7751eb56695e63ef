package eval

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/zerosearch-go/zerosearch/internal/disk"
	"github.com/zerosearch-go/zerosearch/internal/pyjson"
)

// Comparison is the result of the command eval --compare.
type Comparison struct {
	A           Compared     `json:"a"`
	B           Compared     `json:"b"`
	Note        string       `json:"note,omitempty"` // why the two may not be comparable
	Differences []Difference `json:"differences"`
}

// Compared is one of the two evaluations of a comparison.
type Compared struct {
	Run    string `json:"run"`
	Model  string `json:"model"`
	Method Method `json:"method"`
	Engine string `json:"engine"`

	name    string // as the user wrote it
	results []Result
}

// ReadRun reads one method of a folder that eval --out wrote: DIR or DIR:METHOD. Without METHOD it is the only method
// of the folder, or else the agent.
func ReadRun(run string) (Compared, error) {
	dir, method := run, ""
	if i := strings.LastIndexByte(run, ':'); i >= 0 && !exists(run) {
		dir, method = run[:i], run[i+1:]
	}
	out := Compared{Run: dir, name: run}
	fail := func(format string, args ...any) (Compared, error) {
		return out, fmt.Errorf("reading the evaluation %s: %w", dir, fmt.Errorf(format, args...))
	}
	var e Evaluation
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
		method = string(Agent)
	}
	out.Method, out.Engine = Method(method), engines[method]
	if out.Engine == "" {
		return fail("it has no method %q: it has %s", method, strings.Join(methods, ", "))
	}
	err = disk.CompleteLines(filepath.Join(dir, "results.jsonl"), func(line []byte) error {
		var r Result
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

// CompareRuns pairs two evaluations question by question.
func CompareRuns(a, b Compared, boot Bootstrap) (out Comparison, err error) {
	out.A, out.B = a, b
	if out.Differences, err = Compare(out.A.results, out.B.results, boot); err != nil {
		return out, fmt.Errorf("comparing %s with %s: %w", out.A.name, out.B.name, err)
	}
	isSimulated := func(x Compared) bool { return strings.Contains(x.Engine, "simulated") }
	switch {
	case isSimulated(out.A) != isSimulated(out.B):
		out.Note = fmt.Sprintf(
			"A searched with %s, B with %s: a simulated engine is told the answers, so the difference is "+
				"not one of the models alone", out.A.Engine, out.B.Engine)
	case out.A.Engine != out.B.Engine && out.A.Method.Searches() && out.B.Method.Searches():
		out.Note = fmt.Sprintf("A searched with %s, B with %s: the difference is not one of the models alone",
			out.A.Engine, out.B.Engine)
	}
	return out, nil
}
