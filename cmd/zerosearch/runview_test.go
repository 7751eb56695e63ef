package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/rl"
	"github.com/zerosearch-go/zerosearch/rl/health"
	"github.com/zerosearch-go/zerosearch/rl/rundir"
)

// viewed is a view of a run of total steps that writes to a buffer.
func viewed(total int) (*runView, *bytes.Buffer) {
	var log bytes.Buffer
	v := newRunView(&world{log: newProgress(&log)}, nil)
	v.t, v.total, v.clock = &rl.Trainer{}, total, newStepClock(0, total)
	return v, &log
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

// The line that is redrawn fits the terminal, whatever its width: the least important is left out first.
func TestLiveLine(t *testing.T) {
	v, _ := viewed(200)
	v.clock.progress(rl.Progress{Step: 1, Phase: rl.PhaseRollout, Done: 0, Total: 80})
	require.Equal(t, "step 1/200  rolling out 0/80 episodes", v.live(79))
	for i := range 11 {
		v.step(i+1, rundir.Metrics{"critic/score/mean": float64(i) / 10, "env/valid_action_rate": 0.9,
			"search/per_question": 1.5, "search/tau": 0.25}, nil)
	}
	v.clock.progress(rl.Progress{Step: 12, Phase: rl.PhaseUpdate, Done: 34, Total: 80})
	v.rate = 1234
	require.Equal(t, "step 12/200  learning 34/80 trajectories  1234 tokens/s  reward 1.000  ▁▁▂▃▄▄▅▆▇██  valid 90%  "+
		"searches 1.50  tau 0.25  ETA 0s", v.live(200))
	require.Equal(t, "step 12/200  learning 34/80 trajectories  reward 1.000  ▁▁▂▃▄▄▅▆▇██  ETA 0s", v.live(79))
	for width := 11; width < 140; width++ {
		require.LessOrEqual(t, shownColumns(v.live(width)), width)
		v.w.log.color = width%2 == 0
	}
	require.Equal(t, "step 12/200", v.live(3), "what cannot be left out is cut when it is drawn")
}

// A sentence is broken between words on a terminal, and nowhere else.
func TestSentence(t *testing.T) {
	var log bytes.Buffer
	p := newProgress(&log)
	text := strings.Repeat("warning: ", 11) + "x"
	p.sentence(0, text)
	p.tty = true // 80 columns, where it is not known
	p.sentence(33, text)
	require.Equal(t, text+"\n"+strings.Repeat("warning: ", 8)+"warning:\n  warning: warning: x\n",
		log.String())
}

func TestCut(t *testing.T) {
	for _, c := range []struct {
		text  string
		width int
		want  string
	}{{"abc", 3, "abc"}, {"abcd", 3, "ab…"}, {"▁▂▃▄", 3, "▁▂…"}, {"\x1b[32mabcd\x1b[0m", 3, "\x1b[32mab…\x1b[0m"},
		{"\x1b[32mabc\x1b[0m", 3, "\x1b[32mabc\x1b[0m"}, {"abcd", 1, "…"}, {"", 3, ""}} {
		require.Equal(t, c.want, cut(c.text, c.width))
	}
}

// Away from a terminal a step that takes long is shown in lines that become rarer.
func TestWaitingIsShown(t *testing.T) {
	var log bytes.Buffer
	p := newProgress(&log)
	p.period = 10 * time.Second
	said := func(ago time.Duration) bool { // how long ago the phase, and the last line, were
		p.last = time.Now().Add(-ago)
		before := log.Len()
		p.wait(time.Now().Add(-ago), "x")
		return log.Len() > before
	}
	require.False(t, said(time.Second))
	require.True(t, said(3*time.Second))
	require.False(t, said(3*time.Second))
	require.True(t, said(11*time.Second))
	require.False(t, said(50*time.Second))
	require.True(t, said(61*time.Second))
	require.False(t, said(50*time.Second))
	p.last = time.Time{}
	p.status("a result")
	require.True(t, said(3*time.Second), "after a result as in the beginning")
}
