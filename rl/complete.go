package rl

import (
	"context"
	"fmt"

	"github.com/zerosearch-go/zerosearch/engine/dist"
	"github.com/zerosearch-go/zerosearch/rl/rundir"
)

// complete does what is missing of the steps that are done when a run goes on: a process may have been killed between
// its last checkpoint and its end, or have been interrupted before the step that is the last one now. Done again, it
// changes nothing.
func (t *Trainer) complete(ctx context.Context) error {
	if !t.saves() || t.From == 0 {
		return nil
	}
	if err := t.lastEvaluation(ctx); err != nil || t.Out == nil {
		return err
	}
	return t.tidy()
}

// lastEvaluation measures the policy on the held-out questions if all steps are done and this was not.
func (t *Trainer) lastEvaluation(ctx context.Context) error {
	step := t.From
	if step != t.Config.Schedule.TotalSteps || len(t.Data.Eval) == 0 {
		return nil
	}
	var line rundir.Metrics
	if t.Out != nil {
		line = t.Out.Line(step)
	}
	_, measured := line["val/all/f1"]
	if measured, err := dist.First(t.group(), measured); measured || err != nil {
		return err
	}
	m := rundir.Metrics{}
	if err := t.evaluate(ctx, step, m); err != nil {
		return fmt.Errorf("the evaluation after step %d: %w", step, err)
	}
	cost := rundir.Metrics{}
	if err := t.addCost(cost); err != nil {
		return err
	}
	for k, v := range cost {
		m[k] = v + line[k] // the step has cost something already
	}
	// The checkpoint first: its state knows the best score. Killed before the line is there, the next process measures
	// again.
	if err := t.save(step); err != nil || t.Out == nil {
		return err
	}
	if err := t.Out.Amend(step, m); err != nil {
		return err
	}
	return t.Out.Sync()
}
