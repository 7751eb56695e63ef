package main

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/guptarohit/asciigraph"

	"github.com/zerosearch-go/zerosearch/demo"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/cpu"
	"github.com/zerosearch-go/zerosearch/rl/episode"
	"github.com/zerosearch-go/zerosearch/rl/report"
	"github.com/zerosearch-go/zerosearch/rl/rollout"
	"github.com/zerosearch-go/zerosearch/rl/rundir"
)

type demoCmd struct {
	common
	Out         string   `name:"out" help:"Run directory; it stays, and ask, eval and train work on it." default:"zerosearch-demo" placeholder:"DIR"`
	Steps       int      `name:"steps" help:"Updates." default:"0"`
	Small       *bool    `name:"small" negatable:"" help:"Fewer and smaller steps, fewer questions measured; what plain Go gets that has no flag."`
	Seed        uint64   `name:"seed" help:"Another world, other draws." default:"1"`
	Algo        string   `name:"algo" help:"Learning rule, as train --algo has it." default:"grpo"`
	Reward      string   `name:"reward" help:"f1, em, sub_em; shuffled and constant are negative controls: nothing may be learned." default:"f1"`
	NoiseRate   *float64 `name:"noise-rate" help:"Fixed share of noisy documents in training; 1 is a negative control." placeholder:"P"`
	SearchOff   bool     `name:"search-off" help:"Train without a search engine: a negative control."`
	FromScratch bool     `name:"from-scratch" help:"Make the two little models first instead of using the embedded ones."`
}

func (c *demoCmd) Run(w *world) error {
	w.keepsGoing()
	out, err := freshDir(c.Out)
	if err != nil {
		return err
	}
	defer os.Remove(out) // only where nothing was written
	dev, err := c.open(w)
	if err != nil {
		return err
	}
	defer dev.Close()
	o := demo.Options{Dir: out, Seed: c.Seed, Steps: c.Steps, Small: c.small(dev), Algo: c.Algo, Reward: c.Reward,
		NoiseRate: c.NoiseRate,
		SearchOff: c.SearchOff, FromScratch: c.FromScratch}
	v := demoView{w: w, quiet: c.JSON, started: time.Now(), size: o.Size(), steps: cmp.Or(c.Steps, o.Size().Steps)}
	v.say("%s", w.log.paint(1, "zerosearch demo"))
	v.say("An invented world of people, places and things: nothing that a model could know without searching. A " +
		"policy of 1 M")
	v.say("parameters is trained to search it; a second model of 1 M parameters plays the search engine and grows " +
		"noisier.")
	if o.Small && c.Small == nil {
		v.say("This device computes in plain Go: a small demo, %d questions measured (--no-small runs all of it: "+
			"some twenty minutes).", o.Size().Held)
	}
	o.OnMake, o.OnPhase, o.OnEpisode, o.OnStep, o.OnScore = v.making, v.phase, v.episode, v.step, v.score
	r, err := demo.Run(w.ctx, dev, o)
	w.log.done()
	if err != nil {
		return err
	}
	w.writeReport(report.Watch(out))
	if c.JSON {
		return writeJSON(w, r)
	}
	v.result(r)
	return nil
}

// small is what the flag says, or whether dev has no vector instructions.
func (c *demoCmd) small(dev kernels.Device) bool {
	if c.Small != nil {
		return *c.Small
	}
	d, ok := dev.(*cpu.Device)
	return !ok || d.Path() == "generic"
}

// freshDir makes dir, or where it is there from an earlier demo dir-2, dir-3 ...
func freshDir(dir string) (string, error) {
	if err := os.MkdirAll(filepath.Dir(filepath.Clean(dir)), 0o755); err != nil {
		return "", fmt.Errorf("choosing a run directory: %w", err)
	}
	for n := 1; n < 1000; n++ {
		d := dir
		if n > 1 {
			d = fmt.Sprintf("%s-%d", dir, n)
		}
		if err := os.Mkdir(d, 0o755); err == nil {
			return d, nil
		} else if !os.IsExist(err) {
			return "", fmt.Errorf("choosing a run directory: %w", err)
		}
	}
	return "", fmt.Errorf("choosing a run directory: %s to %s-999 exist: say --out DIR", dir, dir)
}

// demoView shows the demo on the terminal.
type demoView struct {
	w       *world
	quiet   bool
	started time.Time
	began   time.Time // training
	steps   int
	clock   *stepClock
	size    demo.Size
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
		v.say("\nTraining with GRPO, %d questions x %d rollouts a step, on questions about another world:",
			v.size.Questions, v.size.Rollouts)
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

func (v *demoView) score(name string, r rollout.SourceReport) {
	v.say("  %-22s F1 %.2f   searches %.1f   valid actions %.0f%%", name, r.F1, r.Searches, 100*r.ValidAction)
}

func (v *demoView) episode(when string, e *episode.Episode) {
	v.say("\n%s training, asked: %s", strings.ToUpper(when[:1])+when[1:], v.w.log.paint(1, e.Question))
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
	if answer == e.GoldenAnswers[0] {
		verdict = v.w.log.paint(32, "right")
	}
	v.say("    answer %q is %s (%s)\n", answer, verdict, e.GoldenAnswers[0])
}

func (v *demoView) result(r *demo.Result) {
	v.say("\nF1 on %d questions about a held-out world, sampled at temperature 1:", v.size.Held)
	v.say("                                     before   after")
	v.say("  simulated engine, 25%% noise          %.2f    %s", r.Before,
		v.w.log.paint(1, fmt.Sprintf("%.2f", r.After)))
	v.say("  a real index (BM25) of that world    %.2f    %s", r.IndexBefore,
		v.w.log.paint(1, fmt.Sprintf("%.2f", r.Index)))
	v.say("  search switched off                          %.2f", r.NoSearch)
	v.say("%d steps, %.0f seconds. Log-probs of rollout and trainer differ by at most %g.", r.Steps, r.Seconds,
		r.LogprobDiff)
	v.say("\nThe run is in %s, its curves and episodes in %s/%s. Ask it something:", r.RunDirectory, r.RunDirectory,
		report.Name)
	v.say("  zerosearch ask --model %s --corpus %s/corpus.jsonl --topk 3 \"Where was ... born?\"", r.RunDirectory,
		r.RunDirectory)
}
