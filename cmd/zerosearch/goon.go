package main

import (
	"cmp"
	"fmt"

	"github.com/goccy/go-yaml"

	"github.com/zerosearch-go/zerosearch/rl/rundir"
)

// saveConfig writes the run's config.yaml.
func (w *world) saveConfig(r *rundir.Run, extra ...yaml.MapItem) error {
	text, err := w.resolved(extra...)
	if err == nil {
		err = r.Config(text)
	}
	if err != nil {
		return fmt.Errorf("writing the run's config.yaml: %w", err)
	}
	return nil
}

// interrupted says how to go on with a run that was stopped after a step and saved.
func (w *world) interrupted(verb, out string, last int) error {
	if last > 0 {
		w.log.line("interrupted after step %d, which is saved. To go on:", last)
	} else {
		w.log.line("interrupted before the first step was done. To begin again:")
	}
	w.goOn(verb, out)
	return errInterrupted
}

// goOn shows the command that goes on with a run.
func (w *world) goOn(verb, out string) {
	w.log.line("  %s", cmp.Or(w.again, "zerosearch "+verb+" --config "+shellWord(out+"/config.yaml")+" --resume auto"))
}
