// Package plan adds up the memory of a run over the roles that its models play, before anything is loaded, and says
// what would make it fit.
package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/zerosearch-go/zerosearch/engine"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/model"
	"github.com/zerosearch-go/zerosearch/rl/config"
	"github.com/zerosearch-go/zerosearch/rl/roles"
)

// Planner says what memory a program takes, from its settings and the config.json files that they name, before anything
// is loaded.
type Planner struct {
	Verb    string // train, sft, generate or serve
	Threads int    // of the cpu
	// Device and SimDevice are the names of the devices, as kernels.Device.Name has them, of the policy and of the
	// simulator. "": cpu, and the policy's.
	Device, SimDevice string
	// Limits are the bytes that devices with memory of their own have, by name, where that is known.
	Limits map[string]int64
	Active int // generate: requests that are worked on at once
	Ranks  int // train: processes that train together, of which one is planned; 0: 1
	// SimElsewhere says that other ranks serve the simulator (train --sim-ranks): none is planned.
	SimElsewhere bool

	resolver *roles.Resolver // of one configuration and its changes: adapters are compared once
}

// Memory adds up what the verb takes with o.
func (pl Planner) Memory(o config.Config) (engine.Memory, error) {
	p, err := pl.plan(o)
	if err != nil {
		return engine.Memory{}, err
	}
	return p.Memory()
}

func (pl Planner) plan(o config.Config) (engine.Plan, error) {
	p := engine.Plan{Device: pl.Device, Threads: pl.Threads, Ranks: pl.Ranks}
	if pl.Verb != "train" { // a policy is alone then
		o.Search.Mode, o.Algo.Algo, o.Algo.KLCoef = "none", "grpo", 0
	}
	r := pl.resolver
	if r == nil {
		r = pl.newResolver()
	}
	cast, err := r.Resolve(&o)
	if err != nil {
		return p, err
	}
	if pl.SimElsewhere {
		cast.Simulator = nil
	}
	kv, err := config.KVType(o.Policy.KVDType, cast.Policy.DType)
	if err != nil {
		return p, err
	}
	memory, err := engine.ParseSize(o.Rollout.KVMemory)
	if err != nil {
		return p, fmt.Errorf("--kv-memory: %w", err)
	}
	policy := modelOf(&cast.Policy)
	switch pl.Verb {
	case "sft":
		policy.Saved, policy.Train = true, pl.pass(&o, policy.Config, kv)
	case "train":
		policy.Saved = true
		policy.Engine, policy.Train = rolling(&o, policy.Config, kv, 0), pl.pass(&o, policy.Config, kv)
	default:
		policy.Engine = &engine.PlanEngine{ModelOptions: engine.ModelOptions{KVType: kv, KVBytes: memory,
			MaxContext: o.Rollout.MaxContext}}
		if pl.Verb == "generate" {
			policy.Engine.Active = pl.Active
		}
	}
	p.Models = append(p.Models, policy)
	(&plannedRoles{pl, &p, &o, kv, map[roles.Weights]int{}}).add(cast)
	return p, nil
}

// newResolver finds out who plays which role on the planned devices.
func (pl Planner) newResolver() *roles.Resolver {
	return &roles.Resolver{Trains: pl.Verb == "train" || pl.Verb == "sft", Device: pl.Device, SimDevice: pl.SimDevice}
}

// fits is nil if m fits into limit bytes of the host's memory, and on the devices.
func (pl Planner) fits(m engine.Memory, limit int64) error {
	if err := m.Fits(limit); err != nil {
		return err
	}
	for _, device := range slices.Sorted(maps.Keys(pl.Limits)) {
		if err := m.FitsOn(device, pl.Limits[device]); err != nil {
			return err
		}
	}
	return nil
}

// Refuse is nil if c fits into limit bytes of the host's memory, and on the devices, and else an error that says what
// would make it fit; advice are its flags.
func (pl Planner) Refuse(c config.Config, limit int64) (advice []string, err error) {
	defer func() { err = config.Error(err) }()
	pl.resolver = pl.newResolver()
	mem, err := pl.Memory(c)
	if err != nil {
		return nil, err
	}
	if err = pl.fits(mem, limit); err == nil {
		return nil, nil
	}
	advice = pl.advise(c, mem, limit)
	text := "no flag makes it fit: use a smaller model, or a machine with more memory"
	if len(advice) > 0 {
		text = "it would fit with " + strings.Join(advice, ", or with ")
	}
	return advice, fmt.Errorf("planning the memory of %s: %w: %s", c.Policy.Model, err, text)
}

// rolling is a model's place in the engine of a training run.
func rolling(o *config.Config, cfg *model.Config, kv kernels.DType, usual int) *engine.PlanEngine {
	r := &o.Rollout
	return &engine.PlanEngine{ModelOptions: engine.ModelOptions{KVType: kv, KVBytes: roles.KVBytes(o, cfg, kv, usual),
		MaxContext:   min(r.MaxContext, cfg.MaxPos),
		MaxSequences: max(1, min(r.Concurrency, r.BatchSize*r.N))}}
}

// pass is the largest micro-batch: sequences are not known before they are read, so that a page for every 128 ids is
// not full.
func (pl Planner) pass(o *config.Config, cfg *model.Config, kv kernels.DType) *engine.PlanPass {
	t := o.Optim.MicroBatchTokens
	if pl.Verb == "train" {
		longest := min(o.Rollout.MaxContext, cfg.MaxPos)
		t = max(t, longest)
		if n := o.Rollout.BatchSize * o.Rollout.N; n < t/max(longest, 1) { // the whole step
			t = n * longest
		}
	}
	return &engine.PlanPass{Tokens: t, Sequences: max(1, t/128), KVType: kv, Recompute: o.Optim.Recompute}
}
