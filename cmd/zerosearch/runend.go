package main

import (
	"fmt"
	"path/filepath"
	"time"

	"github.com/zerosearch-go/zerosearch/rl/data"
	"github.com/zerosearch-go/zerosearch/rl/health"
	"github.com/zerosearch-go/zerosearch/rl/report"
)

// end sums the run up, and shows what can be done with it.
func (v *runView) end(asJSON bool, last int) error {
	v.w.log.done()
	checkpoint := v.t.Out.Checkpoint(last)
	rewards := v.rewards()
	if n := len(rewards); n > 0 && last > v.t.From {
		of := ""
		if v.t.From > 0 { // resumed
			of = fmt.Sprintf(" for the last %d", last-v.t.From)
		}
		v.w.log.line("reward %s  %.3f -> %.3f in %d steps, %s%s", v.w.log.paint(32, sparkline(rewards, 60)),
			rewards[0], rewards[n-1], last, time.Since(v.began).Round(time.Second), of)
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
			"reward": orEmpty(rewards), "cost": v.cost, "report": page, "next": next,
			"state": verdict.State, "warnings": warnings,
			"seconds": time.Since(v.began).Seconds()})
	}
	v.w.log.line("saved %s", checkpoint)
	v.w.log.line("curves and episodes: %s", page)
	if len(next) > 0 {
		v.w.log.line("to try it:")
	}
	for _, command := range next {
		v.w.log.line("  %s", command)
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
