package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/rl"
	"github.com/zerosearch-go/zerosearch/rl/health"
	"github.com/zerosearch-go/zerosearch/rl/rundir"
)

// viewed is a view of a run of total steps that writes to a buffer.
func viewed(total int) (*runView, *bytes.Buffer) {
	var log bytes.Buffer
	return &runView{w: &world{log: newProgress(&log)}, t: &rl.Trainer{}, total: total, clock: newStepClock(0, total),
		told: map[health.Kind]toldFinding{}}, &log
}

// linesWith are the lines of text that contain part.
func linesWith(text, part string) (lines []string) {
	for line := range strings.Lines(text) {
		if strings.Contains(line, part) {
			lines = append(lines, strings.TrimSuffix(line, "\n"))
		}
	}
	return lines
}

// An evaluation says whether it is above or below the best before it, those before a resumed run included.
func TestHeldOutIsCompared(t *testing.T) {
	v, log := viewed(100)
	v.steps = []health.Step{{Step: 10, Metrics: map[string]float64{health.HeldOutF1: 0.3}}}
	for i, f1 := range []float64{0.25, 0.5, 0.5, 0.125} {
		v.step(20+i, rundir.Metrics{health.HeldOutF1: f1, "val/all/em": 0.1, "val/all/sub_em": 0.2}, nil)
	}
	require.Equal(t, []string{
		"step 20: held-out questions: f1 0.250  em 0.100  sub_em 0.200  ▼ 0.050 below the best (step 10)",
		"step 21: held-out questions: f1 0.500  em 0.100  sub_em 0.200  ▲ 0.200 above the best so far (step 10)",
		"step 22: held-out questions: f1 0.500  em 0.100  sub_em 0.200  equal to the best (step 21)",
		"step 23: held-out questions: f1 0.125  em 0.100  sub_em 0.200  ▼ 0.375 below the best (step 21)",
	}, linesWith(log.String(), "held-out questions"))
}

// A warning is said once while it lasts, again when it is worse, and again when it comes back after a while.
func TestWarnings(t *testing.T) {
	v, log := viewed(100)
	step := 0
	do := func(n int, valid float64) {
		for range n {
			step++
			v.step(step, rundir.Metrics{"rollout/episodes": 12, "env/valid_action_rate": valid}, nil)
		}
	}
	do(3, 0)
	require.Equal(t, []string{"warning: step 1: no valid action in 12 episodes: warm up with `sft`"},
		linesWith(log.String(), "warning"))
	do(1, 0.6) // better, and not good: not said
	do(18, 0.6)
	do(12, 0)
	require.Equal(t, []string{"warning: step 1: no valid action in 12 episodes: warm up with `sft`",
		"warning: step 29: only 18% of the actions in 120 episodes are valid: warm up with `sft`",
		"warning: step 32: no valid action in 120 episodes: warm up with `sft`"}, linesWith(log.String(), "warning"))
}
