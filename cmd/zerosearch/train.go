package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/goccy/go-yaml"

	"github.com/zerosearch-go/zerosearch/engine/dist"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/rl"
	"github.com/zerosearch-go/zerosearch/rl/config"
	"github.com/zerosearch-go/zerosearch/rl/report"
	"github.com/zerosearch-go/zerosearch/rl/rundir"
	"github.com/zerosearch-go/zerosearch/rl/search"
)

type trainCmd struct {
	common
	simFlags
	Options config.Config `embed:""`
	DryRun  bool          `name:"dry-run" help:"Print the plan and the memory it takes; load nothing."`
	UI      string        `name:"ui" help:"Show the run live at this address: :7860 for this machine only, HOST:7860 for others too." placeholder:"[HOST]:PORT"`
	Replay  string        `name:"replay" help:"Learn from the trajectories of an episodes.jsonl; nothing is rolled out." placeholder:"FILE"`

	// Names of ZeroSearch's scripts that mean nothing where everything is one process: taken, and said so.
	IP      string `name:"ip" hidden:""`
	Port    string `name:"port" hidden:""`
	NumGPUs string `name:"num-gpus-per-node" hidden:""`
}

func (c *trainCmd) Run(w *world) error {
	if !c.DryRun {
		w.keepsGoing()
	}
	if c.Replay != "" {
		return c.replay(w)
	}
	if c.DryRun {
		if err := c.check(w); err != nil {
			return err
		}
		return c.plan(w)
	}
	return w.together(func(g dist.Group) error {
		if err := c.check(w); err != nil {
			return err
		}
		if err := c.shareCores(w, g); err != nil {
			return err
		}
		if g.Rank() > 0 {
			return c.onDevices(w, func(dev kernels.Device) error { return c.follow(w, dev, g) })
		}
		return c.lead(w, g)
	})
}

// lead trains as the only rank, or as the first.
func (c *trainCmd) lead(w *world, g dist.Group) error {
	folder, err := w.openRun(c.Options.Schedule.Out, c.Options.Schedule.Resume)
	if err != nil {
		return err
	}
	defer folder.Close()
	page := report.Watch(c.Options.Schedule.Out)
	stop, err := w.showLive(page, c.UI)
	if err != nil {
		return err
	}
	defer stop()
	return c.onDevices(w, func(dev kernels.Device) error { return c.train(w, dev, g, folder, page) })
}

// onDevices opens the devices of policy and simulator for work.
func (c *trainCmd) onDevices(w *world, work func(dev kernels.Device) error) error {
	dev, err := c.common.open(w)
	if err != nil {
		return err
	}
	defer dev.Close()
	end, err := c.simFlags.open(w, c.common, &c.Options.Search)
	if err != nil {
		return err
	}
	defer end()
	return work(dev)
}

// check refuses flags that contradict each other, before anything is loaded.
func (c *trainCmd) check(w *world) error {
	o := &c.Options
	switch {
	case o.Data.Data == "":
		return usagef("--data is missing: give a file of questions")
	case o.Schedule.Out == "" && !c.DryRun:
		return usagef("--out is missing: give a folder for the run")
	case o.Data.EvalEvery > 0 && o.Data.EvalData == "" && o.Data.EvalSplit == 0:
		return usagef("--eval-every needs --eval-data FILE or --eval-split N")
	case o.Policy.Adapter != "" && o.Policy.LoRAR > 0:
		return usagef(
			"--adapter and --lora-r contradict each other: --adapter goes on with an adapter, --lora-r begins a new one")
	case o.Search.NoiseRate != nil && (w.given("start-threshold") || w.given("end-threshold")):
		return usagef("--noise-rate and the curriculum's --start-threshold and --end-threshold contradict each " +
			"other: give one or the other")
	case o.Search.NoiseRate != nil && w.given("curriculum"):
		return usagef("--noise-rate and --curriculum contradict each other: give one or the other")
	case o.Search.Curriculum == string(search.Constant) && w.given("end-threshold"):
		return usagef("--curriculum constant stays at --start-threshold: leave --end-threshold out")
	case o.Search.Curriculum != string(search.Adaptive) && w.given("curriculum-goal"):
		return usagef("--curriculum-goal is of no use without --curriculum adaptive")
	case o.Policy.LoRAR == 0 && (w.given("lora-alpha") || w.given("lora-targets")):
		return usagef("--lora-alpha and --lora-targets need --lora-r")
	case o.Policy.RefModel != "" && o.Algo.KLCoef == 0:
		return usagef("--ref-model is of no use with --kl-coef 0: raise --kl-coef or leave --ref-model out")
	}
	if err := o.CheckGiven(); err != nil {
		return usageError{err}
	}
	if err := o.Unused(w.given); err != nil {
		return usageError{err}
	}
	if err := c.simFlags.check(&o.Search); err != nil {
		return err
	}
	c.loraRate(w)
	if (c.IP != "" || c.Port != "") && o.Search.RemoteURL == "" {
		w.log.line("note: IP and PORT are not needed: the simulator (--simulation-llm) runs in this process")
	}
	if c.NumGPUs != "" {
		w.log.line(
			"note: NUM_GPUS_PER_NODE is not used: --device and --sim-device name the GPUs of policy and simulator")
	}
	return nil
}

// loraRate chooses the learning rate of an adapter where the user did not.
func (c *trainCmd) loraRate(w *world) {
	p := &c.Options.Policy
	if note := config.LoRARate(&c.Options.Optim.LR, p.LoRAR > 0 || p.Adapter != "", w.chosen("lr")); note != "" {
		w.log.line("note: %s", note)
	}
}

// train runs to the end or to the interrupt.
func (c *trainCmd) train(w *world, dev kernels.Device, g dist.Group, folder *rundir.Folder, page *report.Run) error {
	s := c.Options.Schedule
	view := newRunView(w, page)
	stop := view.watch()
	defer stop()
	t, err := rl.New(w.ctx, dev, c.Options, rl.WithFolder(folder), rl.WithZeros(), rl.WithRanks(g),
		rl.WithProgress(view.clock.progress))
	if err != nil {
		return err
	}
	defer t.Close()
	w.notes(append(t.Data.Notes, t.Notes...))
	if err := w.saveConfig(t.Out); err != nil {
		return err
	}
	if t.From >= s.TotalSteps {
		w.log.line("note: all %d steps are done: raise --total-steps to go on", t.From)
	}
	view.begin(t, s.TotalSteps)
	last, err := t.Run(w.ctx)
	stop()
	w.writeReport(page)
	if errors.Is(err, context.Canceled) && (w.ctx.Err() != nil || g.Size() > 1) {
		if n := t.RolloutSaved(); n > 0 {
			w.log.line("interrupted after the rollout of step %d, which is saved. To go on:", n)
			w.goOn("train", s.Out)
			return errInterrupted
		}
		return w.interrupted("train", s.Out, last)
	}
	var stopped *rl.Stopped
	if errors.As(err, &stopped) {
		w.log.line("%s", config.InFlags(stopped.Error()))
		w.log.line("the step is saved. To go on all the same:")
		w.goOn("train", s.Out)
		return errStopped
	}
	if err != nil {
		return err
	}
	return view.end(c.JSON, last)
}

// saveConfig writes the run's config.yaml.
func (w *world) saveConfig(r *rundir.Run, extra ...yaml.MapItem) error {
	text, err := w.resolved(extra...)
	if err == nil {
		err = r.Config(text)
	}
	if err != nil {
		return fmt.Errorf("writing the run's config.yaml: %w", err)
	}
	return nil
}

// interrupted says how to go on with a run that was stopped after a step and saved.
func (w *world) interrupted(verb, out string, last int) error {
	if last > 0 {
		w.log.line("interrupted after step %d, which is saved. To go on:", last)
	} else {
		w.log.line("interrupted before the first step was done. To begin again:")
	}
	w.goOn(verb, out)
	return errInterrupted
}

// goOn shows the command that goes on with a run.
func (w *world) goOn(verb, out string) {
	w.log.line("  %s", cmp.Or(w.again, "zerosearch "+verb+" --config "+shellWord(out+"/config.yaml")+" --resume auto"))
}
