package main

import (
	"context"
	"errors"

	"github.com/goccy/go-yaml"

	"github.com/zerosearch-go/zerosearch/rl"
	"github.com/zerosearch-go/zerosearch/rl/report"
)

// replaySection is the mapping `replay:` of --config.
type replaySection struct {
	File          string `yaml:"file,omitempty"` // --replay
	rl.ReplayPlan `yaml:",inline"`
}

// replay learns from recorded trajectories.
func (c *trainCmd) replay(w *world) error {
	o := &c.Options
	switch {
	case o.Schedule.Out == "":
		return usagef("--out is missing: give a folder for the run")
	case c.DryRun:
		return usagef("--dry-run and --replay contradict each other: a replay has no plan to show")
	}
	if err := o.CheckGiven(); err != nil {
		return usageError{err}
	}
	if o.Schedule.StopWhen != "" {
		return usagef("--stop-when is of no use with --replay: a replay does what was recorded")
	}
	c.loraRate(w)
	var part replaySection
	if err := section(c.Config, "replay", &part); err != nil {
		return usageError{err}
	}
	folder, err := w.openRun(o.Schedule.Out, o.Schedule.Resume)
	if err != nil {
		return err
	}
	defer folder.Close()
	page := report.Watch(o.Schedule.Out)
	hide, err := w.showLive(page, c.UI)
	if err != nil {
		return err
	}
	defer hide()
	dev, err := c.common.open(w)
	if err != nil {
		return err
	}
	defer dev.Close()
	view := newRunView(w, page)
	stop := view.watch()
	defer stop()
	r, err := rl.NewReplay(w.ctx, dev, *o, c.Replay, part.ReplayPlan, rl.WithFolder(folder),
		rl.WithProgress(view.clock.progress))
	if err != nil {
		return err
	}
	defer r.Close()
	if err := w.saveConfig(r.Out, yaml.MapItem{Key: "replay",
		Value: replaySection{c.Replay, part.ReplayPlan}}); err != nil {
		return err
	}
	if r.From >= r.Steps() {
		w.log.line("note: all %d steps are done", r.From)
	}
	view.begin(&r.Trainer, r.Steps())
	last, err := r.Run(w.ctx)
	stop()
	w.writeReport(page)
	if errors.Is(err, context.Canceled) && w.ctx.Err() != nil {
		return w.interrupted("train", o.Schedule.Out, last)
	}
	if err != nil {
		return err
	}
	return view.end(c.JSON, last)
}
