package main

import (
	"cmp"
	"fmt"
	"sync"
	"time"

	"github.com/zerosearch-go/zerosearch/rl"
	"github.com/zerosearch-go/zerosearch/rl/episode"
	"github.com/zerosearch-go/zerosearch/rl/health"
	"github.com/zerosearch-go/zerosearch/rl/report"
	"github.com/zerosearch-go/zerosearch/rl/rollout"
	"github.com/zerosearch-go/zerosearch/rl/rundir"
	"github.com/zerosearch-go/zerosearch/rl/search"
)

// runView shows a training run from its opening to its end.
type runView struct {
	w       *world
	total   int // the last step
	page    *report.Run
	began   time.Time
	shown   time.Time // when an episode was, last
	clock   *stepClock
	skips   int         // updates that were not made
	cost    search.Cost // of searching, in all steps of the run
	notices health.Notices

	mu    sync.Mutex     // of what follows
	t     *rl.Trainer    // nil while it is being opened
	last  rundir.Metrics // of the last step
	rate  int64          // tokens in the last second
	steps []health.Step
}

func newRunView(w *world, page *report.Run) *runView {
	return &runView{w: w, page: page, clock: newStepClock(0, 0)}
}

// begin is called when the run is open; total is its last step.
func (v *runView) begin(t *rl.Trainer, total int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.t, v.total, v.began, v.shown = t, total, time.Now(), time.Now()
	t.OnStart, t.OnStep, t.OnNote = v.start, v.step, v.w.note
	v.clock.start(t.From, total)
	if t.From < total {
		v.w.finish(v.clock.finishing)
	}
	v.steps = health.ReadSteps(t.Out.Dir)
	v.cost = costOf(v.steps)
}

// rewards are the mean rewards of all steps of the run; the evaluation before training is none.
func (v *runView) rewards() (all []float64) {
	for _, s := range v.steps {
		if s.Step > 0 {
			all = append(all, s.Metrics["critic/score/mean"])
		}
	}
	return all
}

// start shows how the policy does before the first step.
func (v *runView) start(m rundir.Metrics) {
	v.mu.Lock()
	v.steps = append(v.steps, health.Step{Metrics: m})
	v.mu.Unlock()
	v.cost = v.cost.Add(rollout.StepCost(m))
	v.heldOut(0, m)
}

// step shows a step's numbers.
func (v *runView) step(step int, m rundir.Metrics, groups [][]*episode.Episode) {
	v.clock.step(step)
	v.mu.Lock()
	v.steps = append(v.steps, health.Step{Step: step, Metrics: m})
	v.last = m
	live := v.live(v.w.log.columns() - 1)
	v.mu.Unlock()
	v.skips += int(m["actor/skipped_updates"] + m["critic/skipped_updates"])
	v.cost = v.cost.Add(rollout.StepCost(m))
	dropped := ""
	if share := m["rollout/groups_dropped"]; share > 0 {
		dropped = fmt.Sprintf("  groups dropped %.0f%%", 100*share)
	}
	line := fmt.Sprintf(
		"step %d/%d  reward %.3f  f1 %.3f  tau %.2f  searches %.2f  valid %.0f%%%s  %.0f tokens/s  ETA %s",
		step, v.total, m["critic/score/mean"], m["reward/f1"], m["search/tau"], m["search/per_question"],
		100*m["env/valid_action_rate"], dropped, m["perf/throughput"], cmp.Or(v.clock.eta(), "0s"))
	if v.w.log.tty {
		line = live
	}
	v.w.log.status("%s", line)
	v.heldOut(step, m)
	v.warn(step)
	if n := len(groups); n > 0 && len(groups[step%n]) > 0 && time.Since(v.shown) >= episodePeriod {
		v.shown = time.Now()
		v.w.log.showEpisode(step, groups[step%n][0])
	}
	if every := v.t.Config.Schedule.SaveEvery; every > 0 && step%every == 0 {
		v.w.writeReport(v.page)
	}
}

// warn prints the warnings that this step gave rise to.
func (v *runView) warn(step int) {
	for _, f := range v.notices.After(v.steps) {
		v.w.log.sentence(33, fmt.Sprintf("warning: step %d: %s", step, f.Text))
	}
}

// heldOut says how the policy answers held-out questions, and whether that is better or worse than before.
func (v *runView) heldOut(step int, m rundir.Metrics) {
	f1, ok := m[health.HeldOutF1]
	if !ok {
		return
	}
	text := fmt.Sprintf("step %d: held-out questions: f1 %.3f  em %.3f  sub_em %.3f", step, f1, m["val/all/em"],
		m["val/all/sub_em"])
	best, at := 0.0, -1
	for _, s := range v.steps {
		if old, ok := s.Metrics[health.HeldOutF1]; ok && s.Step < step && (at < 0 || old > best) {
			best, at = old, s.Step
		}
	}
	colour := 0
	switch {
	case at < 0:
	case f1 > best:
		text, colour = text+fmt.Sprintf("  ▲ %.3f above the best so far (step %d)", f1-best, at), 32
	case f1 < best:
		text, colour = text+fmt.Sprintf("  ▼ %.3f below the best (step %d)", best-f1, at), 33
	default:
		text += fmt.Sprintf("  equal to the best (step %d)", at)
	}
	v.w.log.line("%s", v.w.log.paint(colour, text))
}

// episodePeriod is how often an episode is shown.
var episodePeriod = 2 * time.Minute
