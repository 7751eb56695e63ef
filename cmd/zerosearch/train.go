package main

import (
	"context"
	"errors"

	"github.com/zerosearch-go/zerosearch/engine/dist"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/rl"
	"github.com/zerosearch-go/zerosearch/rl/config"
	"github.com/zerosearch-go/zerosearch/rl/report"
	"github.com/zerosearch-go/zerosearch/rl/rundir"
)

type trainCmd struct {
	common
	simFlags
	Options  config.Config `embed:""`
	DryRun   bool          `name:"dry-run" help:"Print the plan of the run and its memory; load nothing."`
	UI       string        `name:"ui" help:"Show the run live at this address: :7860 for this machine only, HOST:7860 for others too." placeholder:"[HOST]:PORT"`
	SimRanks int           `name:"sim-ranks" help:"Of the ranks that mpirun has started, the last N only serve the simulator; the others train and load none." placeholder:"N"`
	Replay   string        `name:"replay" help:"Learn from the trajectories of an episodes.jsonl; nothing is rolled out." placeholder:"FILE"`

	// Names of ZeroSearch's scripts that mean nothing where everything is one process: accepted, with a note.
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
		if c.SimRanks != 0 {
			return c.divided(w, g)
		}
		return c.asRank(w, g)
	})
}

// asRank trains as one of the ranks.
func (c *trainCmd) asRank(w *world, g dist.Group) error {
	if g.Rank() > 0 {
		return c.onDevices(w, func(dev kernels.Device) error { return c.follow(w, dev, g) })
	}
	return c.lead(w, g)
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
	if c.Options.Search.Generator != nil { // of other ranks
		return work(dev)
	}
	end, err := c.simFlags.open(w, c.common, &c.Options.Search)
	if err != nil {
		return err
	}
	defer end()
	return work(dev)
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
