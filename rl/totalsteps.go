package rl

import (
	"fmt"

	"github.com/zerosearch-go/zerosearch/engine/train"
	"github.com/zerosearch-go/zerosearch/rl/config"
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
	if text := config.ScheduleChange("the learning rate", old, t.Schedule, c.Optim.LR, step); text != "" {
		notes = append(notes, flag+": "+text)
	}
	if t.Updater.Values != nil {
		old, _ = train.NewSchedule(c.Optim.LRSchedule, c.Critic.WarmupRatio, was)
		if text := config.ScheduleChange("the critic's learning rate", old, t.criticRate, c.Critic.LR, step); text != "" {
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
	if text := config.Jump("the noise rate", tau(step, was), tau(step+1, now), step); text != "" && !same {
		notes = append(notes, flag+": "+text+", because the curriculum spans all steps")
	}
	return notes
}
