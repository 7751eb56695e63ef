package main

import (
	"bytes"
	"fmt"

	"github.com/zerosearch-go/zerosearch/rl/eval"
)

// bootstrapFlags ask for confidence intervals.
type bootstrapFlags struct {
	Bootstrap  int     `name:"bootstrap" help:"Resamples of the bootstrap for confidence intervals; 0: none." default:"2000"`
	Confidence float64 `name:"confidence" help:"Level of the intervals." default:"0.95"`
}

func (f bootstrapFlags) options(seed uint64) (eval.Bootstrap, error) {
	switch {
	case f.Bootstrap < 0:
		return eval.Bootstrap{}, usagef("--bootstrap must not be negative")
	case !(f.Confidence > 0 && f.Confidence < 1):
		return eval.Bootstrap{}, usagef("--confidence must lie between 0 and 1")
	}
	return eval.Bootstrap{Resamples: f.Bootstrap, Level: f.Confidence, Seed: seed}, nil
}

// compare pairs two evaluations question by question.
func (c *evalCmd) compare(w *world, boot eval.Bootstrap) error {
	if !c.Compare || len(c.Runs) != 2 {
		return usagef("--compare takes two evaluations, as in: zerosearch eval --compare runs/a runs/b")
	}
	a, err := eval.ReadRun(c.Runs[0])
	if err != nil {
		return err
	}
	b, err := eval.ReadRun(c.Runs[1])
	if err != nil {
		return err
	}
	out, err := eval.CompareRuns(a, b, boot)
	if err != nil {
		return err
	}
	return printComparison(w, out, c.Output, c.JSON)
}

// printComparison shows the comparison in the form that was asked for.
func printComparison(w *world, c eval.Comparison, form string, asJSON bool) error {
	if asJSON || form == "json" {
		return writeJSON(w, c)
	}
	var b bytes.Buffer
	for _, x := range []struct {
		name string
		eval.Compared
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
