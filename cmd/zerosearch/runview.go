package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/zerosearch-go/zerosearch/rl"
	"github.com/zerosearch-go/zerosearch/rl/episode"
	"github.com/zerosearch-go/zerosearch/rl/health"
	"github.com/zerosearch-go/zerosearch/rl/report"
	"github.com/zerosearch-go/zerosearch/rl/rollout"
	"github.com/zerosearch-go/zerosearch/rl/rundir"
	"github.com/zerosearch-go/zerosearch/rl/search"
)

// runView shows a training run while it goes on.
type runView struct {
	w       *world
	t       *rl.Trainer
	total   int // the last step
	page    *report.Run
	began   time.Time
	shown   time.Time    // when an episode was, last
	last    atomic.Value // the line of the last step, a string
	clock   *stepClock
	rewards []float64
	skips   int         // updates that were not made
	cost    search.Cost // of searching, in all steps of the run
	steps   []health.Step
	told    map[health.Kind]toldFinding
}

func newRunView(w *world, t *rl.Trainer, total int, page *report.Run) *runView {
	v := &runView{w: w, t: t, total: total, page: page, began: time.Now(), shown: time.Now(),
		clock: newStepClock(t.From, total), told: map[health.Kind]toldFinding{}}
	if t.From < total {
		w.finish(v.clock.finishing)
	}
	v.last.Store("")
	v.steps = stepsSoFar(t.Out.Dir)
	v.cost = costOf(v.steps)
	return v
}

// watch redraws the line once a second with what the engine is doing, on a terminal, until stop is called.
func (v *runView) watch() (stop func()) {
	if !v.w.log.tty {
		return func() {}
	}
	quit, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		before := v.t.Sampled()
		for {
			select {
			case <-quit:
				return
			case <-tick.C:
				now := v.t.Sampled()
				doing := "learning"
				if now != before {
					doing = fmt.Sprintf("rolling out, %d ids/s", now-before)
				}
				before = now
				v.w.log.status("%s%s", v.last.Load(), v.w.log.paint(2, doing))
			}
		}
	}()
	return func() { close(quit); <-ended }
}

// step shows a step's numbers.
func (v *runView) step(step int, m rundir.Metrics, groups [][]*episode.Episode) {
	v.clock.step(step)
	v.steps = append(v.steps, health.Step{Step: step, Metrics: m})
	v.rewards = append(v.rewards, m["critic/score/mean"])
	v.skips += int(m["actor/skipped_updates"] + m["critic/skipped_updates"])
	v.cost = v.cost.Add(rollout.StepCost(m))
	curve := ""
	if v.w.log.tty {
		curve = v.w.log.paint(32, sparkline(v.rewards, 24)) + "  "
	}
	dropped := ""
	if share := m["rollout/groups_dropped"]; share > 0 {
		dropped = fmt.Sprintf("groups dropped %.0f%%  ", 100*share)
	}
	line := fmt.Sprintf(
		"step %d/%d  reward %.3f  %sf1 %.3f  tau %.2f  searches %.2f  valid %.0f%%  %s%.0f tokens/s  ETA %s  ", step,
		v.total,
		m["critic/score/mean"], curve, m["reward/f1"], m["search/tau"], m["search/per_question"],
		100*m["env/valid_action_rate"], dropped,
		m["perf/throughput"], eta(v.began, step-v.t.From, v.total-v.t.From))
	v.last.Store(line)
	v.w.log.status("%s", strings.TrimRight(line, " "))
	v.heldOut(step, m)
	v.judge(step)
	if n := len(groups); n > 0 && len(groups[step%n]) > 0 && time.Since(v.shown) >= episodePeriod {
		v.shown = time.Now()
		v.w.log.showEpisode(step, groups[step%n][0])
	}
	if every := v.t.Config.Schedule.SaveEvery; every > 0 && step%every == 0 {
		v.w.writeReport(v.page)
	}
}

// judge warns of what is wrong with the run since this step. What was said and is still so is not said again, unless it
// has become worse.
func (v *runView) judge(step int) {
	for _, f := range health.Judge(v.steps).Findings {
		told, ok := v.told[f.Kind]
		if !ok || f.State.WorseThan(told.state) || step-told.step > quietSteps {
			told.state = f.State
			v.w.log.line("%s", v.w.log.paint(33, fmt.Sprintf("warning: step %d: %s", step, f.Text)))
		}
		told.step = step
		v.told[f.Kind] = told
	}
}

// toldFinding is how bad a finding was when the user was told, and the last step in which it was made.
type toldFinding struct {
	state health.State
	step  int
}

// quietSteps is for how many steps a finding must have been gone before it is told again.
const quietSteps = 10

// heldOut says how the policy answers held-out questions, and whether that is better or worse than before.
func (v *runView) heldOut(step int, m rundir.Metrics) {
	f1, ok := m[health.HeldOutF1]
	if !ok {
		return
	}
	text := fmt.Sprintf("step %d: held-out questions: f1 %.3f  em %.3f  sub_em %.3f", step, f1, m["val/all/em"],
		m["val/all/sub_em"])
	best, at := 0.0, 0
	for _, s := range v.steps {
		if old, ok := s.Metrics[health.HeldOutF1]; ok && s.Step < step && (at == 0 || old > best) {
			best, at = old, s.Step
		}
	}
	colour := 0
	switch {
	case at == 0:
	case f1 > best:
		text, colour = text+fmt.Sprintf("  ▲ %.3f above the best so far (step %d)", f1-best, at), 32
	case f1 < best:
		text, colour = text+fmt.Sprintf("  ▼ %.3f below the best (step %d)", best-f1, at), 33
	default:
		text += fmt.Sprintf("  equal to the best (step %d)", at)
	}
	v.w.log.line("%s", v.w.log.paint(colour, text))
}

// stepsSoFar are the steps that a run directory records: those before a resumed run goes on.
func stepsSoFar(dir string) (steps []health.Step) {
	text, err := os.ReadFile(filepath.Join(dir, "metrics.jsonl"))
	if err != nil {
		return nil // there are none
	}
	for line := range strings.Lines(string(text)) {
		if s, err := health.Parse([]byte(line)); err == nil {
			steps = append(steps, s)
		}
	}
	return steps
}

// episodePeriod is how often an episode is shown.
var episodePeriod = 2 * time.Minute

// end sums the run up.
func (v *runView) end(asJSON bool, last int) error {
	v.w.log.done()
	checkpoint := v.t.Out.Checkpoint(last)
	if n := len(v.rewards); n > 0 {
		v.w.log.line("reward %s  %.3f -> %.3f in %d steps, %s", v.w.log.paint(32, sparkline(v.rewards, 60)),
			v.rewards[0], v.rewards[n-1], last,
			time.Since(v.began).Round(time.Second))
	}
	v.w.skipped(v.skips)
	logCost(v.w, v.t.Config.Search, v.cost)
	if asJSON {
		return writeJSON(v.w, map[string]any{"steps": last, "out": v.t.Out.Dir, "checkpoint": checkpoint,
			"reward": orEmpty(v.rewards), "cost": v.cost,
			"seconds": time.Since(v.began).Seconds()})
	}
	v.w.log.line("saved %s", checkpoint)
	return nil
}

// skipped says that updates were not made.
func (w *world) skipped(n int) {
	if n > 0 {
		w.log.line(
			"note: updates skipped, because a loss or gradient was not finite: %d: lower --lr, or use --dtype f32", n)
	}
}
