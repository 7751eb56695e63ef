package main

import (
	"runtime"

	"github.com/zerosearch-go/zerosearch/engine"
	"github.com/zerosearch-go/zerosearch/internal/jsonlines"
	"github.com/zerosearch-go/zerosearch/rl/config"
	"github.com/zerosearch-go/zerosearch/rl/plan"
	"github.com/zerosearch-go/zerosearch/rl/rollout"
)

// planCmd takes the flags of the verb it plans for.
type planCmd struct {
	common
	simFlags
	Options  config.Config `embed:""`
	For      string        `name:"for" help:"What is planned: train, sft, generate (ask, eval and score too) or serve." default:"train" enum:"train,sft,generate,serve"`
	Memory   string        `name:"memory" help:"Memory that the run may use, as in 24GiB (default: what is available here)." placeholder:"SIZE"`
	Ranks    int           `name:"ranks" help:"Plan for one of this number of processes (mpirun -n), each on a host of its own, with the bytes that they exchange." default:"1"`
	SimRanks int           `name:"sim-ranks" help:"Of --ranks, the last N only serve the simulator: plan for one that trains, without it." placeholder:"N"`
}

func (c *planCmd) Run(w *world) error {
	if c.Options.Policy.Model == "" {
		return usagef("--model is missing: give a model folder; only its config.json is read")
	}
	if c.Ranks < 1 || c.Ranks > 1 && c.For != "train" {
		return usagef("--ranks must be at least 1, and only train has several ranks")
	}
	if c.SimRanks < 0 || c.SimRanks >= c.Ranks {
		return usagef("--sim-ranks %d of --ranks %d leaves none that trains", c.SimRanks, c.Ranks)
	}
	limit, err := engine.ParseSize(c.Memory)
	if err != nil {
		return usagef("--memory: %w", err)
	}
	if c.For == "train" && c.Options.Data.Data != "" {
		if err := c.Options.CheckGiven(); err != nil {
			return usageError{err}
		}
	}
	if c.For == "train" {
		if err := c.simFlags.check(&c.Options.Search); err != nil {
			return err
		}
	}
	pl := plan.Planner{Verb: c.For, Active: jsonlines.Ahead, Ranks: c.Ranks - c.SimRanks,
		SimElsewhere: c.SimRanks > 0}
	return showPlan(w, c.common, c.simFlags, pl, c.Options, limit)
}

// plan is --dry-run: what a run will do and take, from config.json and the flags alone.
func (c *trainCmd) plan(w *world) error {
	pl := plan.Planner{Verb: "train", SimElsewhere: c.SimRanks != 0}
	return showPlan(w, c.common, c.simFlags, pl, c.Options, 0)
}

func threadsOf(flag int) int {
	if flag > 0 {
		return flag
	}
	return runtime.GOMAXPROCS(0)
}

// showPlan prints the plan; one that does not fit is an error, which says what would.
func showPlan(w *world, c common, sim simFlags, pl plan.Planner, o config.Config, limit int64) error {
	if err := plan.CheckTypes(&o); err != nil {
		return usageError{err}
	}
	if pl.SimElsewhere {
		if err := o.Search.CheckServable(); err != nil {
			return usageError{err}
		}
	}
	pl.Threads = threadsOf(c.Threads)
	pl.Place(c.Device, sim.SimDevice)
	var work *plan.Work
	if pl.Verb == "train" && o.Data.Data != "" {
		questions, err := rollout.LoadQuestions(o.Data)
		if err != nil {
			return err
		}
		work = plan.Count(&o, len(questions.Train.Questions))
	}
	p, refused := pl.Summarize(o, limit)
	if p == nil {
		return refused
	}
	w.notes(p.Notes)
	p.Run = work
	timed := pl.Verb == "train" && refused == nil
	if c.JSON {
		out := struct {
			*plan.Summary
			Step *plannedTime `json:"step_time,omitempty"`
		}{Summary: p}
		if timed {
			t := w.planTime(c, sim, o)
			out.Step = &t
		}
		if err := writeJSON(w, out); err != nil {
			return err
		}
		return refused
	}
	if err := p.Print(w.out); err != nil {
		return err
	}
	if timed { // after the rest is shown, because the measurement takes seconds
		w.planTime(c, sim, o).print(w.out)
	}
	return refused
}
