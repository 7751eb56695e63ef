package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/engine/dist"
	"github.com/zerosearch-go/zerosearch/kernels/cpu"
	"github.com/zerosearch-go/zerosearch/rl"
)

// simulatedConfig is ranksConfig with the demo's simulator.
func simulatedConfig(t *testing.T) rl.Config {
	return ranksConfig(t, func(c *rl.Config) {
		simulator, err := filepath.Abs("../../demo/models/simulator")
		require.NoError(t, err)
		c.Search.Mode, c.Search.SimulationLLM, c.Search.Corpus = "simulate_sft", simulator, ""
		c.Search.SimMaxTokens, c.Rollout.MaxTurns, c.Rollout.MaxObs = 40, 2, 40
		c.Rollout.MaxContext = 400
	})
}

// trainDivided is trainLocal with sims ranks more, which serve the simulator. change is asked what a rank has.
func trainDivided(t *testing.T, c rl.Config, size, sims int, change func(rank int, c *rl.Config)) error {
	errs := make(chan error)
	for _, g := range dist.Local(size + sims) {
		c := c
		change(g.Rank(), &c)
		go func() {
			dev, err := cpu.New(cpu.Options{Threads: 1})
			if err == nil {
				defer dev.Close()
				err = divide(t.Context(), dev, c, g, size)
			}
			if err != nil {
				g.Fail(err)
			}
			errs <- err
		}()
	}
	var all []error
	for range size + sims {
		all = append(all, <-errs)
	}
	return errors.Join(all...)
}

func divide(ctx context.Context, dev *cpu.Device, c rl.Config, g dist.Group, size int) error {
	head, err := g.Head(size)
	if err != nil {
		return err
	}
	if head == nil {
		return rl.ServeSimulator(ctx, dev, c, g)
	}
	simulator, err := rl.DistantSimulator(ctx, c, g, size)
	if err != nil {
		return err
	}
	defer simulator.Close()
	c.Search.Generator = simulator
	x, err := rl.New(ctx, dev, c, rl.WithRanks(head))
	if err == nil {
		defer x.Close()
		_, err = x.Run(ctx)
	}
	if err != nil {
		err = fmt.Errorf("rank %d: %w", g.Rank(), err)
		head.Fail(err)
		return err
	}
	return g.Barrier()
}

// Ranks that only serve the simulator change no episode and no weight.
func TestSimRanks(t *testing.T) {
	c := simulatedConfig(t)
	c.Schedule.Out = filepath.Join(t.TempDir(), "alone")
	trainLocal(t, c, 2)
	text, err := os.ReadFile(filepath.Join(c.Schedule.Out, "episodes.jsonl"))
	require.NoError(t, err)
	require.Contains(t, string(text), `"documents":["`, "nothing was searched")
	for _, sims := range []int{1, 2} {
		divided := c
		divided.Schedule.Out = filepath.Join(t.TempDir(), "divided")
		require.NoError(t, trainDivided(t, divided, 2, sims, func(int, *rl.Config) {}))
		sameState(t, c.Schedule.Out, divided.Schedule.Out)
	}
}

// What is wrong with the simulator of one rank ends all of them with one error.
func TestSimRanksRefused(t *testing.T) {
	c := simulatedConfig(t)
	c.Schedule.Out = filepath.Join(t.TempDir(), "out")
	err := trainDivided(t, c, 1, 1, func(rank int, c *rl.Config) {
		if rank == 1 {
			c.Search.SimulationLLM = c.Policy.Model
		}
	})
	require.ErrorContains(t, err, "rank 1 does not have the simulator of rank 0: ")
	err = trainDivided(t, c, 1, 1, func(_ int, c *rl.Config) { c.Search.SimulationLLM = "same" })
	require.ErrorContains(t, err, "--sim-ranks needs a simulator of its own: name its folder in --simulation-llm")
}
