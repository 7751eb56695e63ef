package rl

import (
	"cmp"
	"context"
	"fmt"

	"github.com/zerosearch-go/zerosearch/engine/dist"
	"github.com/zerosearch-go/zerosearch/rl/health"
	"github.com/zerosearch-go/zerosearch/rl/rundir"
	"github.com/zerosearch-go/zerosearch/rl/update"
)

// Stopped is the error of a run that ended because it crossed a threshold of Schedule.StopWhen. The step is saved, and
// the run can go on from it.
type Stopped struct {
	Step  int
	Alarm health.Alarm
}

// Error says which threshold was crossed.
func (s *Stopped) Error() string {
	return fmt.Sprintf("stopped after step %d by --stop-when %s: %s", s.Step, s.Alarm.Rule, s.Alarm.Text)
}

// alarms are the rules of a run and what they have seen.
type alarms struct {
	stop  []health.Rule
	steps []health.Step
}

// openAlarms reads the rules, and the steps before those of this process.
func (t *Trainer) openAlarms() (err error) {
	a := &t.alarms
	*a = alarms{}
	if a.stop, err = health.ParseRules(t.Config.Schedule.StopWhen); err != nil {
		return fmt.Errorf("--stop-when: %w", err)
	}
	if len(a.stop) == 0 || t.Out == nil || t.From == 0 {
		return nil
	}
	for _, s := range health.ReadSteps(t.Out.Dir) {
		if s.Step <= t.From {
			a.steps = append(a.steps, s)
		}
	}
	return nil
}

// checkAlarms applies the rules to the metrics of a step. It returns an error if the run must stop.
func (t *Trainer) checkAlarms(step int, m rundir.Metrics) *Stopped {
	a := &t.alarms
	if len(a.stop) == 0 {
		return nil
	}
	s := health.Step{Step: step, Metrics: m}
	for i := range a.stop {
		if len(a.steps) <= 1 && step > 0 && a.stop[i].Missing(s) {
			t.note(fmt.Sprintf("--stop-when %s: step %d has no such metric in metrics.jsonl", a.stop[i].Name(), step))
		}
	}
	a.steps = append(a.steps, s)
	var stopped *Stopped
	for i := range a.stop {
		if raised := a.stop[i].Alarm(a.steps); raised != nil && stopped == nil {
			stopped = &Stopped{step, *raised}
		}
	}
	return stopped
}

// agreeToStop makes the decision of rank 0, whose clock it may depend on, that of all ranks.
func (t *Trainer) agreeToStop(step int, own *Stopped) (*Stopped, error) {
	stop, err := dist.First(t.group(), own != nil)
	if !stop {
		return nil, err
	}
	return cmp.Or(own, &Stopped{Step: step}), err
}

// evaluateStart measures the policy on the held-out questions before the first step, and records that as step 0.
func (t *Trainer) evaluateStart(ctx context.Context) error {
	if t.From > 0 || t.Data == nil || len(t.Data.Eval) == 0 {
		return nil
	}
	m := rundir.Metrics{}
	if err := t.evaluate(ctx, 0, m); err != nil {
		return fmt.Errorf("the evaluation before the first step: %w", err)
	}
	if err := t.addCost(m); err != nil {
		return err
	}
	if t.Out != nil {
		if err := t.Out.Metrics(0, m); err != nil {
			return err
		}
	}
	if err := t.track(0, m); err != nil {
		return err
	}
	t.checkAlarms(0, m)
	if t.OnStart != nil {
		t.OnStart(m)
	}
	return nil
}

// The check of bf16 warns if this share of the changed weights, of at least so many, did not change in bf16.
const (
	nearlyAll    = 0.999
	enoughBF16   = 1000
	belowBF16Say = "step %d: %.2f%% of the weights that the optimizer changed round to the same bf16 value as before: " +
		"the next rollouts do not see these changes, and a bf16 checkpoint does not hold them; the f32 masters of the " +
		"optimizer, with which --resume goes on, keep them, and they add up over steps (actor/update_below_bf16): " +
		"raise " +
		"--lr if the policy does not change"
)

// noteBelowBF16 warns, once, of an update that is too small for bf16.
func (t *Trainer) noteBelowBF16(step int, st update.Stats) {
	share := float64(st.BelowBF16) / float64(max(1, st.Changed))
	if t.toldBelow || st.Changed < enoughBF16 || share < nearlyAll {
		return
	}
	t.toldBelow = true
	t.note(fmt.Sprintf(belowBF16Say, step, 100*share))
}
