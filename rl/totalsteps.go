package rl

import (
	"fmt"

	"github.com/zerosearch-go/zerosearch/engine/train"
	"github.com/zerosearch-go/zerosearch/rl/rundir"
	"github.com/zerosearch-go/zerosearch/rl/search"
)

// scheduleChanges says what jumps because a run goes on with another number of steps than it began with: learning
// rates and the noise of searches that depend on the share of the run that is done.
func (t *Trainer) scheduleChanges(st rundir.State) (notes []string) {
	c := &t.Config
	was, now, step := st.Total, c.Schedule.TotalSteps, st.Step
	if was == 0 || was == now || step >= now {
		return nil // it is not known, as it was, or nothing is left to do
	}
	flag := fmt.Sprintf("--total-steps was %d, is %d", was, now)
	old, _ := train.NewSchedule(c.Optim.LRSchedule, c.Optim.WarmupRatio, was) // checked
	if text := ScheduleChange("the learning rate", old, t.Schedule, c.Optim.LR, step); text != "" {
		notes = append(notes, flag+": "+text)
	}
	if t.Updater.Values != nil {
		old, _ = train.NewSchedule(c.Optim.LRSchedule, c.Critic.WarmupRatio, was)
		if text := ScheduleChange("the critic's learning rate", old, t.criticRate, c.Critic.LR, step); text != "" {
			notes = append(notes, flag+": "+text)
		}
	}
	remote := c.Search.Has(func(mode string) bool { return mode == "remote" })
	if !c.Search.Simulates() && !remote || c.Search.NoiseRate != nil {
		return notes
	}
	tau := func(step, total int) float64 {
		return c.Search.NoiseCurriculum().Tau(search.Query{Step: step, TotalSteps: total, Success: st.Success})
	}
	same := tau(step, was) == tau(step, now) && tau(step+1, was) == tau(step+1, now)
	if text := jump("the noise rate", tau(step, was), tau(step+1, now), step); text != "" && !same {
		notes = append(notes, flag+": "+text+", because the curriculum spans all steps")
	}
	return notes
}

// ScheduleChange says how a learning rate, lr times the schedule, jumps where a run goes on after step by the
// schedule now instead of was; "" if the two agree there.
func ScheduleChange(what string, was, now train.Schedule, lr float64, step int) string {
	if was.Multiplier(step) == now.Multiplier(step) && was.Multiplier(step+1) == now.Multiplier(step+1) {
		return ""
	}
	text := jump(what, lr*was.Multiplier(step), lr*now.Multiplier(step+1), step)
	if text != "" {
		text += fmt.Sprintf(", because warm-up and schedule (%s) span all steps", now.Name)
	}
	return text
}

// jump says what a value was at step and is at the next; "" if it reads the same.
func jump(what string, was, is float64, step int) string {
	a, b := fmt.Sprintf("%.3g", was), fmt.Sprintf("%.3g", is)
	if a == b {
		return ""
	}
	return fmt.Sprintf("%s was %s at step %d and is %s at step %d", what, a, step, b, step+1)
}
