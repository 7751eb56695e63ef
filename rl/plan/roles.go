package plan

import (
	"cmp"
	"fmt"

	"github.com/zerosearch-go/zerosearch/engine"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/model"
	"github.com/zerosearch-go/zerosearch/rl/config"
	"github.com/zerosearch-go/zerosearch/rl/roles"
	"github.com/zerosearch-go/zerosearch/rl/rundir"
)

// plannedRoles adds reference, critic and simulator to the plan of a training run, who share what they can: as New gives them out.
type plannedRoles struct {
	Planner
	plan   *engine.Plan
	o      *config.Config
	policy engine.PlanModel
	kv     kernels.DType
	starts map[plannedStart]int // places in plan.Models
}

// plannedStart names a frozen copy of the starting weights.
type plannedStart struct {
	device string // "": the policy's
	dtype  kernels.DType
}

// apart is the simulator's device, if that is another than the policy's, or else "".
func (pl Planner) apart() string {
	if device := cmp.Or(pl.SimDevice, pl.Device); device != pl.Device {
		return device
	}
	return ""
}

func (r *plannedRoles) add() error {
	if r.o.Algo.KLCoef > 0 {
		if err := r.reference(); err != nil {
			return err
		}
	}
	if r.o.Algo.UsesCritic() {
		if err := r.critic(); err != nil {
			return err
		}
	}
	s := &r.o.Search
	if !s.Simulates() {
		return nil
	}
	t, err := roles.HeldAs("--sim-dtype", s.SimDType, r.policy.Config, r.policy.DType)
	if err != nil {
		return err
	}
	device := r.apart()
	if s.SimulationLLM == "same" && !r.policy.Full && t == r.policy.DType && device == "" {
		return nil
	}
	m, err := r.over("simulator", device, s.SimulationLLM, t)
	if err != nil || m != nil && device == "" {
		return err
	}
	if m == nil {
		m, err = r.model("simulator", device, s.SimulationLLM, "--sim-dtype", s.SimDType)
	}
	if err == nil {
		m.Engine = rolling(r.o, m.Config, r.kv, roles.SimulatedLength(s))
	}
	return err
}

// over is the plan's row of an adapter over the policy's base, or a copy of it on another device, as Trainer.other mounts
// it; nil if name is opened for itself.
func (r *plannedRoles) over(role, device, name string, t kernels.DType) (*engine.PlanModel, error) {
	if r.policy.Full || t != r.policy.DType {
		return nil, nil
	}
	made, known := r.made[name]
	if !known {
		_, base, err := roles.ReadShape(r.o.Policy.Model)
		if err != nil {
			return nil, err
		}
		if made, _, err = roles.MadeFor(name, base); err != nil {
			return nil, err
		}
		r.made[name] = made
	}
	if !made {
		return nil, nil
	}
	dir, err := rundir.ModelDir(name)
	if err != nil {
		return nil, err
	}
	a, err := model.ReadAdapterConfig(dir)
	if err != nil {
		return nil, err
	}
	r.plan.Models = append(r.plan.Models, engine.PlanModel{Name: role, Config: r.policy.Config, DType: t,
		Device: device, Shared: device == "", LoRA: &engine.PlanLoRA{R: a.R, Targets: a.Targets}})
	return &r.plan.Models[len(r.plan.Models)-1], nil
}

// reference is what the KL term is measured from; an average of the policy has a copy of its own.
func (r *plannedRoles) reference() error {
	p := &r.o.Policy
	_, average, err := p.EMADecay()
	if err != nil {
		return err
	}
	if average {
		t, err := roles.HeldAs("--ref-dtype", p.RefDType, r.policy.Config, r.policy.DType)
		if err != nil {
			return err
		}
		m := engine.PlanModel{Name: "reference", Config: r.policy.Config, DType: t, Averaged: true, Score: r.pass(r.o, r.policy.Config, r.kv)}
		if a := r.policy.LoRA; a != nil {
			m.Shared, m.DType, m.LoRA = true, r.policy.DType, &engine.PlanLoRA{R: a.R, Targets: a.Targets}
		}
		r.plan.Models = append(r.plan.Models, m)
		return nil
	}
	var m *engine.PlanModel
	if p.RefModel != "" {
		t, err := roles.HeldAs("--ref-dtype", p.RefDType, r.policy.Config, r.policy.DType)
		if err != nil {
			return err
		}
		if m, err = r.over("reference", "", p.RefModel, t); err != nil {
			return err
		}
	}
	if m == nil {
		if m, err = r.model("reference", "", cmp.Or(p.RefModel, "same"), "--ref-dtype", p.RefDType); err != nil {
			return err
		}
	}
	if a := r.policy.LoRA; a != nil && p.RefModel == "" && p.Adapter != "" && p.Reference != config.RefAdaptersOff { // a frozen copy of it
		m.LoRA = &engine.PlanLoRA{R: a.R, Targets: a.Targets}
	}
	m.Score = r.pass(r.o, m.Config, r.kv)
	return nil
}

// critic is PPO's, over what --critic-train says.
func (r *plannedRoles) critic() error {
	c := &r.o.Critic
	m := engine.PlanModel{Name: "critic", Config: r.policy.Config, DType: r.policy.DType, Saved: true}
	if c.Model != "" {
		var err error
		if m.Config, _, err = roles.ReadShape(c.Model); err != nil {
			return fmt.Errorf("opening the critic: %w", err)
		}
	}
	pass := r.pass(r.o, m.Config, r.kv)
	switch a := r.policy.LoRA; c.Learns(a != nil) {
	case config.CriticAll:
		m.Full, m.Train = true, pass
	case config.CriticHead:
		m.Score = pass
		if c.Model == "" {
			if _, err := r.model("critic", "", "same", "", ""); err != nil {
				return err
			}
			m.Shared = true
		}
	default:
		m.Train, m.Shared = pass, c.Model == ""
		if a != nil {
			m.LoRA = &engine.PlanLoRA{R: a.R, Targets: a.Targets, Trained: true}
		}
	}
	r.plan.Models = append(r.plan.Models, m)
	return nil
}

// model is the plan's row of a frozen model: one of its own in dir, or the starting weights, "same".
func (r *plannedRoles) model(name, device, dir, flag, value string) (*engine.PlanModel, error) {
	cfg := r.policy.Config
	if dir != "same" {
		var err error
		if cfg, _, err = roles.ReadShape(dir); err != nil {
			return nil, fmt.Errorf("opening the %s: %w", name, err)
		}
	}
	t, err := roles.HeldAs(flag, value, cfg, r.policy.DType)
	if err != nil {
		return nil, err
	}
	m := engine.PlanModel{Name: name, Device: device, Config: cfg, DType: t}
	if dir == "same" {
		start := plannedStart{device, t}
		if at, ok := r.starts[start]; ok {
			r.plan.Models[at].Name = "starting weights"
			return &r.plan.Models[at], nil
		}
		r.starts[start] = len(r.plan.Models)
		m.Shared = !r.policy.Full && t == r.policy.DType && device == ""
	}
	r.plan.Models = append(r.plan.Models, m)
	return &r.plan.Models[len(r.plan.Models)-1], nil
}
