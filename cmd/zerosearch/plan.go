package main

import (
	"cmp"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/model"
	"github.com/zerosearch-go/zerosearch/rl/data"
	"github.com/zerosearch-go/zerosearch/rl/track"
)

// trainPlan is what --dry-run prints.
type trainPlan struct {
	Model      string       `json:"model"`
	Arch       string       `json:"architecture"`
	Parameters int64        `json:"parameters"`
	Trained    int64        `json:"trained_parameters"`
	Questions  int          `json:"questions"`
	Steps      int          `json:"steps"`
	Episodes   int          `json:"episodes"`        // of the whole run
	PolicyIDs  int          `json:"policy_ids_most"` // sampled in a step, if every turn runs to its end
	Optimiser  int          `json:"optimiser_steps"` // of the whole run
	Memory     []memoryLine `json:"memory"`          // in bytes
	Total      int64        `json:"memory_total"`
	Machine    *memory      `json:"machine_memory,omitempty"`
}

type memoryLine struct {
	What  string `json:"what"`
	Bytes int64  `json:"bytes"`
}

// plan adds up what a run will do and take, from config.json and the flags alone.
func (c *trainCmd) plan(w *world) error {
	p, err := c.makePlan()
	if err != nil {
		return err
	}
	if c.JSON {
		return writeJSON(w, p)
	}
	return p.print(w)
}

func (c *trainCmd) makePlan() (*trainPlan, error) {
	o := &c.Options
	cfg, dir, err := readShape(o.Policy.Model)
	if err != nil {
		return nil, err
	}
	questions, err := data.Load(o.Data.Data)
	if err != nil {
		return nil, err
	}
	r := &o.Rollout
	perStep := r.BatchSize * r.N
	minis := 1
	if m := o.Algo.MiniBatch; m > 0 {
		minis = (perStep + m - 1) / m
	}
	p := &trainPlan{Model: dir, Arch: cfg.Arch, Parameters: cfg.Parameters(), Trained: cfg.Parameters(), Questions: len(questions), Steps: o.Schedule.TotalSteps,
		Episodes: o.Schedule.TotalSteps * perStep, PolicyIDs: perStep * (r.MaxTurns + 1) * r.MaxResponse, Optimiser: o.Schedule.TotalSteps * minis, Machine: machineMemory()}
	if o.Policy.LoRAR > 0 || o.Policy.Adapter != "" {
		p.Trained = 0 // known once the adapter is made: small beside the rest
	}
	return p, c.planMemory(p, cfg)
}

// readShape reads a model's sizes; an adapter's are its base's.
func readShape(name string) (*model.Config, string, error) {
	dir, err := track.ModelDir(name)
	if err != nil {
		return nil, "", err
	}
	if a, err := model.ReadAdapterConfig(dir); err == nil {
		dir = a.Base()
	}
	cfg, err := model.ReadConfig(dir)
	return cfg, dir, err
}

// planMemory lists what a run holds.
func (c *trainCmd) planMemory(p *trainPlan, cfg *model.Config) error {
	o := &c.Options
	dtype, err := kernels.ParseDType(o.Policy.DType)
	if err != nil {
		return usagef("--dtype: %w", err)
	}
	kv, err := kernels.ParseDType(cmp.Or(o.Policy.KVDType, o.Policy.DType))
	if err != nil {
		return usagef("--kv-dtype: %w", err)
	}
	add := func(what string, bytes int64) {
		p.Memory = append(p.Memory, memoryLine{what, bytes})
		p.Total += bytes
	}
	add("policy weights, "+dtype.String(), cfg.WeightBytes(dtype))
	full := o.Policy.LoRAR == 0 && o.Policy.Adapter == ""
	if full {
		add("f32 masters, gradients, AdamW moments", cfg.TrainBytes())
	}
	simulated := strings.HasPrefix(o.Search.Mode, "simulate")
	same := simulated && o.Search.SimulationLLM == "same"
	if full && (o.Algo.KLCoef > 0 && o.Policy.RefModel == "" || same) {
		add("starting weights (reference, simulator same)", cfg.WeightBytes(dtype))
	}
	if o.Policy.RefModel != "" {
		ref, _, err := readShape(o.Policy.RefModel)
		if err != nil {
			return fmt.Errorf("reading the reference: %w", err)
		}
		add("reference weights", ref.WeightBytes(dtype))
	}
	add("keys and values of the policy", o.KVBytes(cfg, kv))
	if sim := cfg; simulated {
		if !same {
			if sim, _, err = readShape(o.Search.SimulationLLM); err != nil {
				return fmt.Errorf("reading the simulator: %w", err)
			}
			add("simulator weights", sim.WeightBytes(dtype))
		}
		add("keys and values of the simulator", o.KVBytes(sim, kv))
	}
	micro := max(o.Optim.MicroBatchTokens, min(o.Rollout.MaxContext, cfg.MaxPos))
	var every func(int) bool
	if o.Optim.Recompute {
		every = func(int) bool { return true }
	}
	add(fmt.Sprintf("activations of %d ids", micro), cfg.WorkspaceBytes(micro, model.WorkspaceOptions{Keep: true, Recompute: every}))
	return nil
}

func (p *trainPlan) print(w *world) error {
	fmt.Fprintf(w.out, "%s: %s, %.1f M parameters\n", p.Model, p.Arch, float64(p.Parameters)/1e6)
	fmt.Fprintf(w.out, "%d questions; %d steps, %d episodes, %d optimiser steps; at most %d sampled ids a step\n", p.Questions, p.Steps, p.Episodes, p.Optimiser, p.PolicyIDs)
	tw := tabwriter.NewWriter(w.out, 0, 0, 2, ' ', 0)
	for _, m := range append(p.Memory, memoryLine{"together", p.Total}) {
		fmt.Fprintf(tw, "  %s\t%8.2f GB\n", m.What, float64(m.Bytes)/1e9)
	}
	if err := tw.Flush(); err != nil {
		return fmt.Errorf("writing the plan: %w", err)
	}
	if m := p.Machine; m != nil {
		fits := "it fits"
		if p.Total > m.Available {
			fits = "it does NOT fit: lower --micro-batch-tokens or --max-context, add --recompute, use --lora-r, or --kl-coef 0"
		}
		fmt.Fprintf(w.out, "this machine has %.2f GB, %.2f GB of them available: %s\n", float64(m.Total)/1e9, float64(m.Available)/1e9, fits)
	}
	return nil
}
