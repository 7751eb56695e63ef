package main

import (
	"context"
	"errors"
	"time"

	"github.com/zerosearch-go/zerosearch/rl/config"
	"github.com/zerosearch-go/zerosearch/rl/report"
	"github.com/zerosearch-go/zerosearch/rl/rundir"
	"github.com/zerosearch-go/zerosearch/rl/sft"
)

type sftCmd struct {
	common
	Options sft.Config `embed:""`
}

// check refuses flags that contradict each other, before anything is loaded.
func (c *sftCmd) check(w *world) error {
	c.Options.Zeros = true // a learning rate of 0 was typed
	switch {
	case c.Options.Out == "":
		return usagef("--out is missing: give a folder for the run")
	case c.Options.LoRAR == 0 && (w.given("lora-alpha") || w.given("lora-targets")):
		return usagef("--lora-alpha and --lora-targets need --lora-r")
	case w.given("steps") && w.given("epochs"):
		return usagef("--steps and --epochs contradict each other: give one or the other")
	}
	if err := c.Options.Check(); err != nil {
		return usageError{err}
	}
	return nil
}

func (c *sftCmd) Run(w *world) (err error) {
	w.keepsGoing()
	if err := c.check(w); err != nil {
		return err
	}
	lora := c.Options.LoRAR > 0 || c.Options.Adapter != ""
	if note := config.LoRARate(&c.Options.LR, lora, w.chosen("lr")); note != "" {
		w.log.line("note: %s", note)
	}
	folder, err := w.openRun(c.Options.Out, c.Options.Resume)
	if err != nil {
		return err
	}
	defer folder.Close()
	dev, err := c.open(w)
	if err != nil {
		return err
	}
	defer dev.Close()
	r, err := sft.New(w.ctx, dev, c.Options)
	if err != nil {
		return err
	}
	defer r.Close()
	w.notes(r.Notes)
	return c.learn(w, r, folder)
}

// learn runs to the end or to the interrupt.
func (c *sftCmd) learn(w *world, r *sft.Run, folder *rundir.Folder) (err error) {
	if r.Out, err = folder.Begin(r.From); err != nil {
		return err
	}
	defer r.Out.Close()
	if err := w.saveConfig(r.Out); err != nil {
		return err
	}
	if r.From >= r.Steps {
		w.log.line("note: all %d steps are done: raise --steps or --epochs to go on", r.From)
	}
	began := time.Now()
	var losses []float64
	clock := newStepClock(r.From, r.Steps)
	w.finish(clock.finishing)
	r.OnStep = func(step int, m rundir.Metrics) {
		clock.step(step)
		losses = append(losses, m["train/loss"])
		w.log.status("step %d/%d  loss %.4f  grad norm %.3f  lr %.2g  %.0f tokens/s  ETA %s", step, r.Steps,
			m["train/loss"], m["train/grad_norm"],
			m["train/lr"], m["perf/throughput"], eta(began, step-r.From, r.Steps-r.From))
	}
	last, err := r.Do(w.ctx)
	w.log.done()
	w.writeReport(report.Watch(c.Options.Out))
	if errors.Is(err, context.Canceled) && w.ctx.Err() != nil {
		return w.interrupted("sft", c.Options.Out, last)
	}
	if err != nil {
		return err
	}
	if n := len(losses); n > 0 {
		w.log.line("loss %s  %.4f -> %.4f in %d steps, %s", w.log.paint(32, sparkline(losses, 60)), losses[0],
			losses[n-1], last,
			time.Since(began).Round(time.Second))
	}
	w.skipped(r.Skipped)
	if c.JSON {
		return writeJSON(w, map[string]any{"steps": last, "out": c.Options.Out, "checkpoint": r.Out.Checkpoint(last),
			"loss": orEmpty(losses), "seconds": time.Since(began).Seconds()})
	}
	w.log.line("saved %s", r.Out.Checkpoint(last))
	return nil
}
