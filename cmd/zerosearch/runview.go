package main

import (
	"cmp"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/zerosearch-go/zerosearch/rl"
	"github.com/zerosearch-go/zerosearch/rl/data"
	"github.com/zerosearch-go/zerosearch/rl/episode"
	"github.com/zerosearch-go/zerosearch/rl/health"
	"github.com/zerosearch-go/zerosearch/rl/report"
	"github.com/zerosearch-go/zerosearch/rl/rollout"
	"github.com/zerosearch-go/zerosearch/rl/rundir"
	"github.com/zerosearch-go/zerosearch/rl/search"
)

// runView shows a training run from its opening to its end.
type runView struct {
	w     *world
	total int // the last step
	page  *report.Run
	began time.Time
	shown time.Time // when an episode was, last
	clock *stepClock
	skips int         // updates that were not made
	cost  search.Cost // of searching, in all steps of the run
	told  map[health.Kind]toldFinding

	mu      sync.Mutex     // of what follows
	t       *rl.Trainer    // nil while it is being opened
	last    rundir.Metrics // of the last step
	rate    int64          // tokens in the last second
	rewards []float64
	steps   []health.Step
}

func newRunView(w *world, page *report.Run) *runView {
	return &runView{w: w, page: page, clock: newStepClock(0, 0), told: map[health.Kind]toldFinding{}}
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

// watch shows what the run is doing, once a second on a terminal and now and then elsewhere, until stop is called.
func (v *runView) watch() (stop func()) {
	var before int64
	return v.w.every(time.Second, func() {
		v.mu.Lock()
		if v.t != nil {
			now := v.t.Sampled()
			v.rate, before = now-before, now
		}
		text := v.waiting()
		if v.w.log.tty {
			text = v.live(v.w.log.columns() - 1)
		}
		v.mu.Unlock()
		v.w.log.wait(v.clock.phaseBegan(), text)
	})
}

// every calls f once a period until stop is called.
func (w *world) every(period time.Duration, f func()) (stop func()) {
	quit, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(period)
		defer tick.Stop()
		for {
			select {
			case <-quit:
				return
			case <-tick.C:
				f()
			}
		}
	}()
	return sync.OnceFunc(func() {
		close(quit)
		<-ended
	})
}

// waiting is the line of a step that is not done yet, away from a terminal.
func (v *runView) waiting() string {
	text := v.clock.doing()
	if v.t != nil {
		text = fmt.Sprintf("step %d/%d: %s", v.clock.next(), v.total, text)
	}
	if left, known := v.clock.left(); known {
		text += fmt.Sprintf(", about %s left", left.Round(time.Second))
	}
	return text
}

// live is the line that is redrawn, in at most width columns: what does not fit is left out, the least important first.
func (v *runView) live(width int) string {
	if v.t == nil {
		return v.waiting()
	}
	paint := v.w.log.paint
	parts := []struct {
		rank int // the higher, the sooner it is left out
		text string
	}{{0, fmt.Sprintf("step %d/%d", v.clock.next(), v.total)}, {1, paint(2, v.clock.doing())}, {8, ""}, {2, ""},
		{4, ""},
		{5, ""}, {6, ""}, {7, ""}, {3, ""}}
	if v.rate > 0 {
		parts[2].text = paint(2, fmt.Sprintf("%d tokens/s", v.rate))
	}
	if m := v.last; m != nil {
		parts[3].text = fmt.Sprintf("reward %.3f", m["critic/score/mean"])
		parts[4].text = paint(32, sparkline(v.rewards, 16))
		parts[5].text = fmt.Sprintf("valid %.0f%%", 100*m["env/valid_action_rate"])
		parts[6].text = fmt.Sprintf("searches %.2f", m["search/per_question"])
		parts[7].text = fmt.Sprintf("tau %.2f", m["search/tau"])
	}
	if eta := v.clock.eta(); eta != "" {
		parts[8].text = "ETA " + eta
	} else if left, known := v.clock.left(); known {
		parts[8].text = fmt.Sprintf("%s left", left.Round(time.Second))
	}
	for most := len(parts); ; most-- {
		var shown []string
		for _, p := range parts {
			if p.rank <= most && p.text != "" {
				shown = append(shown, p.text)
			}
		}
		if line := strings.Join(shown, "  "); shownColumns(line) <= width || most == 0 {
			return line
		}
	}
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
	v.rewards = append(v.rewards, m["critic/score/mean"])
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
			v.w.log.sentence(33, fmt.Sprintf("warning: step %d: %s", step, f.Text))
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

// end sums the run up, and shows what can be done with it.
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
	page, next, verdict := filepath.Join(v.t.Out.Dir, report.Name), v.next(), health.Judge(v.steps)
	if verdict.State != health.Early {
		v.w.log.sentence(0, fmt.Sprintf("verdict: %s; %s", verdict.State.Words(), verdict.Summary))
	}
	if asJSON {
		warnings := []string{}
		for _, f := range verdict.Findings {
			warnings = append(warnings, f.Text)
		}
		return writeJSON(v.w, map[string]any{"steps": last, "out": v.t.Out.Dir, "checkpoint": checkpoint,
			"reward": orEmpty(v.rewards), "cost": v.cost, "report": page, "next": next,
			"state": verdict.State, "warnings": warnings,
			"seconds": time.Since(v.began).Seconds()})
	}
	v.w.log.line("saved %s", checkpoint)
	if v.w.log.tty { // what reads a log knows
		v.w.log.line("curves and episodes: %s\nto try it:", page)
		for _, command := range next {
			v.w.log.line("  %s", command)
		}
	}
	return nil
}

// next are the commands that ask the trained policy a question, and that measure it, with the settings of the run.
func (v *runView) next() []string {
	q := v.t.Data
	if q == nil || len(q.Train.Questions) == 0 || v.w.again != "" { // a replay; a bundle has its own files
		return []string{}
	}
	question, files := q.Train.Questions[0].Question, v.t.Config.Data.EvalData
	if len(q.Eval) > 0 {
		question = q.Eval[0].Question
	}
	if files == "" {
		files = data.Unweighted(v.t.Config.Data.Data)
	}
	dir := v.t.Out.Dir
	with := fmt.Sprintf("--config %s --model %s", shellWord(filepath.Join(dir, "config.yaml")), shellWord(dir))
	return []string{fmt.Sprintf("zerosearch ask %s %s", with, shellWord(question)),
		fmt.Sprintf("zerosearch eval %s --data %s --out %s", with, shellWord(files),
			shellWord(filepath.Join(dir, "eval")))}
}

// skipped says that updates were not made.
func (w *world) skipped(n int) {
	if n > 0 {
		w.log.line(
			"note: updates skipped, because a loss or gradient was not finite: %d: lower --lr, or use --dtype f32", n)
	}
}
