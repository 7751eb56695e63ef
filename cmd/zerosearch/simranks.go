package main

import (
	"errors"

	"github.com/zerosearch-go/zerosearch/engine/dist"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/rl"
)

// divided trains with the first ranks of g; the last, as many as --sim-ranks says, serve the simulator to them.
func (c *trainCmd) divided(w *world, g dist.Group) error {
	n := g.Size() - c.SimRanks
	if c.SimRanks < 0 || n < 1 {
		return usagef("--sim-ranks %d of %d ranks leaves none that trains: start more by mpirun -n", c.SimRanks, g.Size())
	}
	if err := c.Options.Search.CheckServable(); err != nil {
		return usageError{err}
	}
	head, err := g.Head(n)
	if err != nil {
		return err
	}
	if head == nil {
		return c.onDevices(w, func(dev kernels.Device) error {
			return rl.ServeSimulator(w.ctx, dev, c.Options, g)
		})
	}
	simulator, err := rl.DistantSimulator(w.ctx, c.Options, g, n)
	if err == nil {
		defer simulator.Close()
		c.Options.Search.Generator = simulator
		w.log.line("note: %d of %d ranks train, the others serve the simulator", n, g.Size())
		err = c.asRank(w, head)
	}
	if !w.stoppedTogether(err) {
		head.Fail(err)
		return err
	}
	if waited := g.Barrier(); waited != nil { // the others serve until now
		return errors.Join(err, waited)
	}
	return err
}

// stoppedTogether reports whether all ranks end with err, at the same place: none has to tell the others.
func (w *world) stoppedTogether(err error) bool {
	var other *dist.RankError
	return err == nil || errors.Is(err, errInterrupted) || errors.Is(err, errStopped) ||
		errors.As(err, &other) && w.ctx.Err() != nil
}
