package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/guptarohit/asciigraph"

	"github.com/zerosearch-go/zerosearch/demo"
	"github.com/zerosearch-go/zerosearch/rl/episode"
	"github.com/zerosearch-go/zerosearch/rl/report"
	"github.com/zerosearch-go/zerosearch/rl/rollout"
	"github.com/zerosearch-go/zerosearch/rl/rundir"
)

// demoView shows the demo on the terminal.
type demoView struct {
	w     *world
	quiet bool
	began time.Time // training
	steps int
	clock *stepClock
	size  demo.Size
	algo  string
}

func (v *demoView) say(format string, args ...any) {
	if !v.quiet {
		v.w.log.done()
		fmt.Fprintf(v.w.out, format+"\n", args...)
	}
}

func (v *demoView) phase(name string) {
	if name == "training" {
		v.began, v.clock = time.Now(), newStepClock(0, v.steps)
		v.w.finish(v.clock.finishing)
		v.say("\nTraining with %s, %d questions x %d rollouts a step, on questions about another world:",
			strings.ToUpper(v.algo), v.size.Questions, v.size.Rollouts)
		return
	}
	v.w.finishing.Store(nil)
	v.w.log.status("%s ...", name)
}

func (v *demoView) making(stage string, step, steps int, m rundir.Metrics) {
	v.w.log.status("making the models: %s %d/%d, loss %.3f, %.0f tokens/s", stage, step, steps, m["train/loss"],
		m["perf/throughput"])
}

func (v *demoView) step(step, steps int, m rundir.Metrics, curve []float64) {
	v.clock.step(step)
	v.w.log.status("step %d/%d  reward %.2f  %s  tau %.2f  searches %.1f  %.0f tokens/s  ETA %s", step, steps,
		m["critic/score/mean"],
		sparkline(curve, 40), m["search/tau"], m["search/per_question"], m["perf/throughput"],
		eta(v.began, step, steps))
	if step == steps {
		v.say("%s", asciigraph.Plot(curve, asciigraph.Height(8), asciigraph.Width(60), asciigraph.LowerBound(0),
			asciigraph.Caption("mean reward (F1) of a step, under a rising share of noisy documents")))
	}
}

func (v *demoView) score(name string, greedy, sampled rollout.SourceReport) {
	v.say("  %-24s F1 %.2f greedy, %.2f sampled   searches %.1f   valid actions %.0f%%", name, greedy.F1, sampled.F1,
		sampled.Searches, 100*sampled.ValidAction)
}

func (v *demoView) example(x demo.Example) {
	v.say("\nOn the index, greedy: %s", v.w.log.paint(1, x.Before.Question))
	if x.Learned {
		v.say("(the first two-hop question that was answered wrongly before, and after whose every step follows from " +
			"its documents)")
	} else {
		v.say("(the first two-hop question; training made none right whose every step follows from its documents)")
	}
	v.episode("before", x.Before)
	v.episode("after", x.After)
}

func (v *demoView) episode(when string, e *episode.Episode) {
	v.say("  %s:", when)
	for _, t := range e.Turns {
		for _, line := range strings.Split(strings.TrimSpace(t.Text), "\n") {
			v.say("    %s", v.w.log.paint(36, line))
		}
		for i, d := range t.Documents {
			v.say("      %s", v.w.log.paint(2, fmt.Sprintf("Doc %d: %s", i+1, d)))
		}
	}
	verdict := v.w.log.paint(33, "wrong")
	answer, _ := e.Answer()
	if demo.Right(e) {
		verdict = v.w.log.paint(32, "right")
	}
	v.say("    answer %q is %s (%s)", answer, verdict, e.GoldenAnswers[0])
}

func (v *demoView) result(r *demo.Result) {
	v.say("\nF1 on %d questions about a held-out world:", v.size.Held)
	v.say("                                           greedy           sampled")
	v.say("                                       before   after   before   after")
	last := func(x float64) string { return v.w.log.paint(1, fmt.Sprintf("%.2f", x)) }
	row := func(name string, gb, g, b, a float64) {
		v.say("  %-36s  %.2f    %s     %.2f    %s", name, gb, last(g), b, last(a))
	}
	row("simulated engine, 25% noise", r.GreedyBefore, r.Greedy, r.Before, r.After)
	row("a real index (BM25) of that world", r.IndexGreedyBefore, r.IndexGreedy, r.IndexBefore, r.Index)
	v.say("  %-36s          %.2f             %.2f", "search switched off", r.NoSearchGreedy, r.NoSearch)
	v.say("%d steps, %.0f seconds. Log-probs of rollout and trainer differ by at most %g.", r.Steps, r.Seconds,
		r.LogprobDiff)
	v.say("\nThe run is in %s, its curves and episodes in %s/%s. Ask it something:", r.RunDirectory, r.RunDirectory,
		report.Name)
	v.say("  zerosearch ask --model %s --corpus %s/corpus.jsonl --topk 3 \"Where was ... born?\"", r.RunDirectory,
		r.RunDirectory)
}
