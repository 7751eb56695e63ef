package config

import (
	"fmt"

	"github.com/zerosearch-go/zerosearch/engine/train"
)

// ScheduleChange says how a learning rate, lr times the schedule, jumps where a run goes on after step by the
// schedule now instead of was; "" if the two agree there.
func ScheduleChange(what string, was, now train.Schedule, lr float64, step int) string {
	if was.Multiplier(step) == now.Multiplier(step) && was.Multiplier(step+1) == now.Multiplier(step+1) {
		return ""
	}
	text := Jump(what, lr*was.Multiplier(step), lr*now.Multiplier(step+1), step)
	if text != "" {
		text += fmt.Sprintf(", because warm-up and schedule (%s) span all steps", now.Name)
	}
	return text
}

// Jump says what a value was at step and is at the next; "" if it reads the same.
func Jump(what string, was, is float64, step int) string {
	a, b := fmt.Sprintf("%.3g", was), fmt.Sprintf("%.3g", is)
	if a == b {
		return ""
	}
	return fmt.Sprintf("%s was %s at step %d and is %s at step %d", what, a, step, b, step+1)
}
