package plan

import (
	"github.com/zerosearch-go/zerosearch/engine"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/rl/config"
	"github.com/zerosearch-go/zerosearch/rl/roles"
)

// plannedRoles adds reference, critic and simulator to the plan of a training run, as the cast has them.
type plannedRoles struct {
	Planner
	plan   *engine.Plan
	o      *config.Config
	kv     kernels.DType
	frozen map[roles.Weights]int // places in plan.Models of weights that several roles may be on
}

func (r *plannedRoles) add(cast *roles.Cast) {
	if ref := cast.Reference; ref != nil {
		r.model(ref).Score = r.pass(r.o, ref.Config, r.kv)
	}
	if c := cast.Critic; c != nil {
		r.critic(c)
	}
	sim := cast.Simulator
	if sim == nil || sim.Source == roles.OfPolicy && sim.Adapter == nil {
		return // the policy's own row has its keys and values
	}
	m := r.model(sim)
	if sim.Source != roles.OfPolicy {
		m.Engine = rolling(r.o, sim.Config, r.kv, roles.SimulatedLength(&r.o.Search))
	}
}

// modelOf is the plan's row of a role.
func modelOf(role *roles.Role) engine.PlanModel {
	m := engine.PlanModel{Name: role.Name, Config: role.Config, DType: role.DType, Device: role.Device,
		Full:     role.Trained,
		Averaged: role.Averaged, Shared: role.Source == roles.OfPolicy && role.Name != "policy"}
	if a := role.Adapter; a != nil {
		m.LoRA = &engine.PlanLoRA{R: a.R, Targets: a.Targets, Trained: a.Trained}
	}
	return m
}

// model adds the row of a role, or gives the one of the frozen weights that it shares with another role.
func (r *plannedRoles) model(role *roles.Role) *engine.PlanModel {
	m := modelOf(role)
	if role.Source == roles.Start || role.Source == roles.OfPolicy && role.Adapter == nil {
		if at, ok := r.frozen[role.Weights]; ok {
			same := &r.plan.Models[at]
			same.Name = "starting weights"
			if m.LoRA != nil {
				same.LoRA = m.LoRA
			}
			return same
		}
		r.frozen[role.Weights] = len(r.plan.Models)
	}
	r.plan.Models = append(r.plan.Models, m)
	return &r.plan.Models[len(r.plan.Models)-1]
}

// critic adds PPO's critic: where it is over frozen weights, they have a row of their own.
func (r *plannedRoles) critic(role *roles.Role) {
	m := modelOf(role)
	m.Saved = true
	if role.Source == roles.Start {
		frozen := *role
		frozen.Adapter = nil
		r.model(&frozen)
		m.Shared = true
	}
	if pass := r.pass(r.o, role.Config, r.kv); role.Trained || role.Adapter != nil {
		m.Train = pass
	} else {
		m.Score = pass
	}
	r.plan.Models = append(r.plan.Models, m)
}
