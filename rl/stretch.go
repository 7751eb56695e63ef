package rl

import (
	"fmt"

	"github.com/zerosearch-go/zerosearch/engine/train"
	"github.com/zerosearch-go/zerosearch/rl/search"
)

// stretched says what jumps because a run goes on with another number of steps than it began with: learning rates and the noise of
// searches that depend on the share of the run that is done.
func (t *Trainer) stretched(st State) (notes []string) {
	c := &t.Config
	was, now, step := st.Total, c.Schedule.TotalSteps, st.Step
	if was == 0 || was == now || step >= now {
		return nil // it is not known, as it was, or nothing is left to do
	}
	flag := fmt.Sprintf("--total-steps was %d, is %d", was, now)
	old, _ := train.NewSchedule(c.Optim.LRSchedule, c.Optim.WarmupRatio, was) // checked
	if text := Stretched("the learning rate", old, t.Schedule, c.Optim.LR, step); text != "" {
		notes = append(notes, flag+": "+text)
	}
	if t.Updater.Values != nil {
		old, _ = train.NewSchedule(c.Optim.LRSchedule, c.Critic.WarmupRatio, was)
		if text := Stretched("the critic's learning rate", old, t.criticRate, c.Critic.LR, step); text != "" {
			notes = append(notes, flag+": "+text)
		}
	}
	if !c.Search.Simulates() && !c.Search.has(func(mode string) bool { return mode == "remote" }) || c.Search.NoiseRate != nil {
		return notes
	}
	tau := func(step, total int) float64 {
		return c.Search.curriculum().Tau(search.Query{Step: step, TotalSteps: total, Success: st.Success})
	}
	if tau(step, was) != tau(step, now) || tau(step+1, was) != tau(step+1, now) {
		notes = append(notes, fmt.Sprintf("%s: the noise rate of the curriculum was %.3g at step %d and is %.3g at step %d, because the curriculum spans all steps",
			flag, tau(step, was), step, tau(step+1, now), step+1))
	}
	return notes
}

// Stretched says how a learning rate, lr times the schedule, jumps where a run goes on after step by the schedule now instead of was; ""
// if the two agree there.
func Stretched(what string, was, now train.Schedule, lr float64, step int) string {
	if was.Multiplier(step) == now.Multiplier(step) && was.Multiplier(step+1) == now.Multiplier(step+1) {
		return ""
	}
	return fmt.Sprintf("%s was %.3g at step %d and is %.3g at step %d, because warm-up and schedule (%s) span all steps", what, lr*was.Multiplier(step), step,
		lr*now.Multiplier(step+1), step+1, now.Name)
}
