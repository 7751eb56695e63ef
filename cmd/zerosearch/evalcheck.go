package main

import (
	"path/filepath"

	"github.com/zerosearch-go/zerosearch/internal/await"
	"github.com/zerosearch-go/zerosearch/internal/fingerprint"
	"github.com/zerosearch-go/zerosearch/rl/data"
	"github.com/zerosearch-go/zerosearch/rl/eval"
)

// check refuses flags that contradict each other, before anything is read.
func (c *evalCmd) check(w *world) ([]eval.Method, error) {
	if err := c.chooseSuite(w); err != nil {
		return nil, err
	}
	switch {
	case w.given("start-threshold") || w.given("end-threshold") || w.given("curriculum"):
		return nil,
			usagef("there is no curriculum outside training: say how noisy a simulated engine is with --noise-rate")
	case c.JSON && w.given("output") && c.Output != "json":
		return nil, usagef("--json and --output %s contradict each other: give one or the other", c.Output)
	}
	if err := c.Selection.Check(); err != nil {
		return nil, usageError{err}
	}
	methods, err := eval.ParseMethods(c.Methods)
	if err != nil {
		return nil, usageError{err}
	}
	if c.Episodes != "" && len(methods) > 1 {
		return nil, usagef("--episodes holds one method: use --out DIR for several")
	}
	if c.Search.NoiseRate == nil {
		zero := 0.0 // useful documents, unless asked otherwise
		c.Search.NoiseRate = &zero
	}
	return methods, nil
}

// folder opens --out, where an evaluation with the same settings goes on.
func (c *evalCmd) folder(w *world, a *agent, questions []data.Question) (*eval.Folder, error) {
	now, err := await.Call(w.ctx, func() (fingerprint.Parts, error) { return c.fingerprint(w, a, questions) })
	if err != nil {
		return nil, err
	}
	text, err := w.resolved()
	if err != nil {
		return nil, err
	}
	return eval.OpenFolder(c.Out, now, text)
}

// free are flags that change no episode, or whose contents are compared.
var free = []string{"sources", "limit", "per-source", "method", "out", "episodes", "output", "bootstrap", "confidence",
	"compare", "suite-data", "write-split",
	"threads", "concurrency", "device", "sim-device"}

// fingerprint is what the episodes come from: settings, the model and its adapter, the questions, what is searched.
func (c *evalCmd) fingerprint(w *world, a *agent, questions []data.Question) (fingerprint.Parts, error) {
	return a.parts(w, c.modelFlags, &c.Search, questions, free)
}

// interruptedEvaluation says how to go on.
func interruptedEvaluation(w *world, f *eval.Folder) error {
	f.Close()
	w.log.line("interrupted: %d of %d episodes are done and kept. To go on:", f.Done, f.Want)
	w.log.line("  zerosearch eval --config %s", shellWord(filepath.Join(f.Dir, "config.yaml")))
	return errInterrupted
}
