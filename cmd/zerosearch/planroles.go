package main

import (
	"cmp"
	"fmt"

	"github.com/zerosearch-go/zerosearch/engine"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/model"
	"github.com/zerosearch-go/zerosearch/rl"
)

// roles adds reference and simulator to the plan of a training run, who share what they can: as rl.New gives them out.
type roles struct {
	planner
	plan   *engine.Plan
	o      *rl.Config
	policy engine.PlanModel
	kv     kernels.DType
	starts map[kernels.DType]int // frozen starting weights: places in plan.Models
}

func (r *roles) add() error {
	if r.o.Algo.KLCoef > 0 {
		m, err := r.model("reference", cmp.Or(r.o.Policy.RefModel, "same"), "--ref-dtype", r.o.Policy.RefDType)
		if err != nil {
			return err
		}
		m.Score = r.pass(r.o, m.Config, r.kv)
	}
	s := &r.o.Search
	if !s.Simulates() {
		return nil
	}
	t, err := heldAs("--sim-dtype", s.SimDType, r.policy.Config, r.policy.DType)
	if err != nil {
		return err
	}
	if !r.policy.Full && t == r.policy.DType { // an adapter of the policy's base, or none
		if a, ok := isAdapter(s.SimulationLLM); ok {
			r.plan.Models = append(r.plan.Models, engine.PlanModel{Name: "simulator", Config: r.policy.Config, DType: t, Shared: true,
				LoRA: &engine.PlanLoRA{R: a.R, Targets: a.Targets}})
			return nil
		}
		if s.SimulationLLM == "same" {
			return nil
		}
	}
	m, err := r.model("simulator", s.SimulationLLM, "--sim-dtype", s.SimDType)
	if err == nil {
		m.Engine = rolling(r.o, m.Config, r.kv)
	}
	return err
}

// model is the plan's row of a frozen model: one of its own in dir, or the starting weights, "same".
func (r *roles) model(name, dir, flag, value string) (*engine.PlanModel, error) {
	cfg := r.policy.Config
	if dir != "same" {
		var err error
		if cfg, _, err = readShape(dir); err != nil {
			return nil, fmt.Errorf("reading the %s: %w", name, err)
		}
	}
	t, err := heldAs(flag, value, cfg, r.policy.DType)
	if err != nil {
		return nil, err
	}
	m := engine.PlanModel{Name: name, Config: cfg, DType: t}
	if dir == "same" {
		if at, ok := r.starts[t]; ok {
			r.plan.Models[at].Name = "starting weights"
			return &r.plan.Models[at], nil
		}
		r.starts[t] = len(r.plan.Models)
		m.Shared = !r.policy.Full && t == r.policy.DType
		if r.o.Policy.Adapter != "" { // a frozen copy of it
			m.LoRA = &engine.PlanLoRA{R: r.policy.LoRA.R, Targets: r.policy.LoRA.Targets}
		}
	}
	r.plan.Models = append(r.plan.Models, m)
	return &r.plan.Models[len(r.plan.Models)-1], nil
}

// heldAs is the type of frozen weights: as the flag says, or else as a q8 folder is, or like others.
func heldAs(flag, value string, cfg *model.Config, like kernels.DType) (kernels.DType, error) {
	t, err := rl.WeightType(flag, value)
	switch {
	case err != nil:
		return 0, usageError{err}
	case t != 0:
		return t, nil
	case cfg.Q8:
		return kernels.Q8, nil
	}
	return cmp.Or(like, kernels.BF16), nil
}
