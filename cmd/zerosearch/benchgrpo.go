package main

import (
	"github.com/zerosearch-go/zerosearch/bench"
	"github.com/zerosearch-go/zerosearch/bench/peers"
	"github.com/zerosearch-go/zerosearch/engine/dist"
	"github.com/zerosearch-go/zerosearch/kernels"
)

type benchGRPOCmd struct {
	benchFlags
	benchModel
	Questions   int  `name:"questions" help:"Questions in a step." default:"8"`
	N           int  `name:"n" help:"Rollouts of each." default:"5"`
	MaxResponse int  `name:"max-response-length" help:"New tokens in every turn." default:"128"`
	Turns       int  `name:"turns" help:"Turns; between two the simulator writes a result." default:"1"`
	Prompt      int  `name:"prompt-length" help:"Tokens of a prompt." default:"140"`
	Observation int  `name:"observation-length" help:"Tokens of a result." default:"300"`
	Given       bool `name:"given-results" help:"Take search results as given, as from a search engine; no simulator runs."`
	MiniBatch   int  `name:"ppo-mini-batch-size" help:"Trajectories in an optimizer step; 0: all." default:"0"`
	LoRAR       int  `name:"lora-r" help:"Rank of an adapter on all linear layers; 0: train all weights." default:"0"`
	NoReference bool `name:"no-reference" help:"No KL term."`
	Recompute   bool `name:"recompute" help:"Keep only the inputs of layers for the backward pass, and compute the rest again."`
	MicroBatch  int  `name:"micro-batch-tokens" help:"Tokens forwarded together in training." default:"4096"`

	SimDType string   `name:"sim-dtype" help:"How the simulator, the starting weights, is held: f32, bf16, q8 or q4 (default: as --dtype)." default:"" enum:",f32,bf16,q8,q4"`
	Peer     []string `name:"peer" sep:"none" help:"Another program for these steps, measured in alternation with ours: it prints a JSON object a line with step_s, the seconds of a step." placeholder:"NAME=COMMAND"`
	Pairs    int      `name:"pairs" help:"Alternating pairs with each --peer." default:"1"`
	Ranks    int      `name:"ranks" help:"Measure with one rank and with this number of ranks: goroutines, or the processes of mpirun." default:"1"`
	NoWarmup bool     `name:"no-warmup" help:"The first step counts too: for models whose steps take minutes."`
}

func (c *benchGRPOCmd) Run(w *world) error {
	o, err := c.into(c.options(w))
	if err != nil {
		return err
	}
	var sim kernels.DType
	if c.SimDType != "" {
		if sim, err = kernels.ParseDType(c.SimDType); err != nil {
			return usageError{err}
		}
	}
	t := bench.GRPOTest{Questions: c.Questions, N: c.N, Response: c.MaxResponse, Turns: c.Turns, Prompt: c.Prompt,
		Observation: c.Observation, Given: c.Given, MiniBatch: c.MiniBatch, LoRAR: c.LoRAR, NoReference: c.NoReference,
		Recompute: c.Recompute, MicroBatch: c.MicroBatch,
		SimDType: sim, NoWarmup: c.NoWarmup, Pairs: c.Pairs, Ranks: c.Ranks}
	if c.Ranks < 1 {
		return usagef("--ranks must be at least 1")
	}
	if t.Peers, err = peers.ParseSteps(c.Peer); err != nil {
		return usagef("--peer: %w", err)
	}
	run := func() (*bench.Report, error) { return bench.GRPO(w.ctx, o, t) }
	if by, n := dist.Launched(); n > 1 {
		if t.Ranks = n; c.Ranks != 1 && c.Ranks != n {
			return usagef("--ranks is %d, and %s started %d processes", c.Ranks, by, n)
		}
		return w.together(func(g dist.Group) error {
			if t.Group = g; g.Rank() > 0 {
				return bench.Follow(w.ctx, o, t)
			}
			r, err := c.profile(run)
			return c.print(w, r, err)
		})
	}
	r, err := c.profile(run)
	return c.print(w, r, err)
}
