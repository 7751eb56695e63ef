package roles

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/model"
	"github.com/zerosearch-go/zerosearch/rl/config"
	"github.com/zerosearch-go/zerosearch/rl/rundir"
)

// Source says where the weights of a role come from.
type Source uint8

const (
	// OfPolicy are the weights that the policy is on: trained, or a base that stays as it is under an adapter.
	OfPolicy Source = iota
	// Start is a frozen copy of the base that the policy began with; all roles on one device and of one type share it.
	Start
	// Own are read from a folder, for one role.
	Own
	// Copy is a copy of the policy's for one role, which changes it: a critic that learns, an average that follows.
	Copy
)

// Weights names weights that are in memory once: roles with equal Weights share them.
type Weights struct {
	Source Source
	Role   string // of Own and Copy: whose they are
	Dir    string // of Own: what is opened, which may be an adapter's folder
	Device string // "": the policy's
	DType  kernels.DType
}

// Adapter is what lies over the weights of a role.
type Adapter struct {
	Dir     string // where it is read from; "": a new one, of the shape of the policy's
	R       int
	Targets []string
	Trained bool
}

// Role is what one model of a run is: on which weights, and what of it learns.
type Role struct {
	Name string // policy, reference, critic or simulator
	Weights
	Config   *model.Config
	Trained  bool     // all weights learn
	Adapter  *Adapter // nil: none
	Averaged bool     // it follows the policy, as --reference ema:DECAY
	IsPolicy bool     // it is the policy itself, with its adapter, as every step leaves it
	Notes    []string // what the user should know about the choice
}

// Cast has the model of each role. A role without a model is nil.
type Cast struct {
	Policy                       Role
	Reference, Critic, Simulator *Role
}

// Resolver finds out who plays which role, from a configuration and the config files that it names, before anything is
// loaded. It is the one rule of training, of the verbs that only run a policy, and of the planner.
type Resolver struct {
	// Trains: the policy learns, so that reference and critic are wanted, and full weights will not stay as they are.
	Trains bool
	// Device and SimDevice are the names of the policy's and of the simulator's device; "": the policy's.
	Device, SimDevice string
	// DType is the type that the policy's weights are held as, where the flag does not say; 0: as the folder is.
	DType kernels.DType

	made map[string]madeFor // adapters: contents are compared once
}

type madeFor struct {
	made bool
	note string
}

// Resolve gives out the roles of c.
func (r *Resolver) Resolve(c *config.Config) (*Cast, error) {
	if r.made == nil {
		r.made = map[string]madeFor{}
	}
	p, dir, err := r.policy(c)
	if err != nil {
		return nil, err
	}
	cast := &Cast{Policy: *p}
	if r.Trains && c.Algo.KLCoef > 0 {
		if cast.Reference, err = r.reference(c, p); err != nil {
			return nil, err
		}
	}
	if r.Trains && c.Algo.UsesCritic() {
		if cast.Critic, err = r.critic(c, p); err != nil {
			return nil, fmt.Errorf("opening the critic: %w", err)
		}
	}
	if c.Search.Simulates() && c.Search.Generator == nil {
		cast.Simulator, err = r.simulator(c, p, dir)
	}
	return cast, err
}

// policy is the model that the flags name, and the folder of its base.
func (r *Resolver) policy(c *config.Config) (*Role, string, error) {
	o := &c.Policy
	cfg, base, err := ReadShape(o.Model)
	if err != nil {
		return nil, "", err
	}
	p := &Role{Name: "policy", Config: cfg}
	if p.DType = r.DType; p.DType == 0 {
		if p.DType, err = HeldAs("--dtype", o.DType, cfg, 0); err != nil {
			return nil, "", err
		}
	}
	if cfg.Quantised != 0 && !r.Trains {
		p.DType = cfg.Quantised // the verbs that only run a policy have no other default
	} else if cfg.Quantised != 0 && p.DType != cfg.Quantised {
		return nil, "",
			fmt.Errorf("planning the memory of %s: its weights are %[2]v: add --dtype %[2]v and --lora-r, or "+
				"train the checkpoint that they were made from", o.Model, cfg.Quantised)
	}
	dir, err := rundir.ModelDir(cmp.Or(o.Adapter, o.Model))
	if err != nil {
		return nil, "", err
	}
	a, err := model.ReadAdapterConfig(dir)
	switch {
	case err != nil && (o.Adapter != "" || !errors.Is(err, fs.ErrNotExist)):
		return nil, "", err
	case err == nil:
		p.Adapter = &Adapter{Dir: dir, R: a.R, Targets: a.Targets, Trained: r.Trains}
	case o.LoRAR > 0:
		p.Adapter = &Adapter{R: o.LoRAR, Targets: strings.Split(o.LoRATargets, ","), Trained: r.Trains}
	default:
		p.Trained = r.Trains
	}
	return p, base, nil
}

// start is the role of the weights that the policy began with, without its adapter: the base itself where that stays as
// it is, or else a frozen copy.
func (r *Resolver) start(name, device string, dtype kernels.DType, p *Role) *Role {
	out := &Role{Name: name, Config: p.Config,
		Weights: Weights{Source: Start, Device: device, DType: cmp.Or(dtype, p.DType)}}
	if !p.Trained && device == "" && out.DType == p.DType {
		out.Source = OfPolicy
	}
	return out
}

// other is the role of a model that a flag names: an adapter over the policy's base, or over a copy of it on another
// device, if the base stays as it is and the adapter was made for it; else a model with weights of its own.
func (r *Resolver) other(c *config.Config, name, dir, device, flag, value string, p *Role) (*Role, error) {
	t, err := config.WeightType(flag, value)
	if err != nil {
		return nil, err
	}
	if !p.Trained && cmp.Or(t, p.DType) == p.DType {
		made, known := r.made[dir]
		if !known {
			_, base, err := ReadShape(c.Policy.Model)
			if err != nil {
				return nil, err
			}
			if made.made, made.note, err = MadeFor(dir, base); err != nil {
				return nil, err
			}
			r.made[dir] = made
		}
		if made.made {
			at, err := rundir.ModelDir(dir)
			if err != nil {
				return nil, err
			}
			a, err := model.ReadAdapterConfig(at)
			if err != nil {
				return nil, err
			}
			out := r.start(name, device, 0, p)
			out.Adapter = &Adapter{Dir: at, R: a.R, Targets: a.Targets}
			if made.note != "" {
				out.Notes = []string{made.note}
			}
			return out, nil
		}
	}
	cfg, _, err := ReadShape(dir)
	if err != nil {
		return nil, fmt.Errorf("opening the %s: %w", name, err)
	}
	if t, err = HeldAs(flag, value, cfg, p.DType); err != nil {
		return nil, err
	}
	return &Role{Name: name, Config: cfg,
		Weights: Weights{Source: Own, Role: name, Dir: dir, Device: device, DType: t}}, nil
}

// reference is what the KL term is measured from.
func (r *Resolver) reference(c *config.Config, p *Role) (*Role, error) {
	const name = "reference"
	o := &c.Policy
	t, err := config.WeightType("--ref-dtype", o.RefDType)
	if err != nil {
		return nil, err
	}
	_, average, err := o.EMADecay()
	switch {
	case err != nil:
		return nil, err
	case average && p.Adapter != nil:
		return &Role{Name: name, Config: p.Config, Averaged: true, Weights: p.Weights,
			Adapter: &Adapter{R: p.Adapter.R, Targets: p.Adapter.Targets}}, nil
	case average:
		return &Role{Name: name, Config: p.Config, Averaged: true,
			Weights: Weights{Source: Copy, Role: name, DType: cmp.Or(t, p.DType)}}, nil
	case o.RefModel != "":
		return r.other(c, name, o.RefModel, "", "--ref-dtype", o.RefDType, p)
	}
	out := r.start(name, "", t, p)
	if a := p.Adapter; a != nil && a.Dir != "" && o.Reference != config.RefAdaptersOff { // a frozen copy of it
		out.Adapter = &Adapter{Dir: a.Dir, R: a.R, Targets: a.Targets}
	}
	return out, nil
}

// critic is what is under PPO's value head, to learn as --critic-train says.
func (r *Resolver) critic(c *config.Config, p *Role) (*Role, error) {
	const name = "critic"
	what := c.Critic.Learns(p.Adapter != nil)
	switch {
	case what == config.CriticAll && p.DType.Quantised():
		return nil, fmt.Errorf("%v weights cannot be trained: use --critic-train lora or head", p.DType)
	case what == config.CriticLoRA && p.Adapter == nil:
		return nil,
			errors.New("--critic-train lora makes an adapter like the policy's: add --lora-r, or train all or head")
	}
	var out *Role
	switch dir := c.Critic.Model; {
	case dir != "":
		cfg, _, err := ReadShape(dir)
		if err != nil {
			return nil, err
		}
		out = &Role{Name: name, Config: cfg, Weights: Weights{Source: Own, Role: name, Dir: dir, DType: p.DType}}
	case what == config.CriticAll:
		out = &Role{Name: name, Config: p.Config, Weights: Weights{Source: Copy, Role: name, DType: p.DType}}
	default:
		out = r.start(name, "", 0, p)
	}
	out.Trained = what == config.CriticAll
	if what == config.CriticLoRA {
		out.Adapter = &Adapter{R: p.Adapter.R, Targets: p.Adapter.Targets, Trained: true}
	}
	return out, nil
}

// simulator is what writes the documents.
func (r *Resolver) simulator(c *config.Config, p *Role, base string) (*Role, error) {
	const name = "simulator"
	device := cmp.Or(r.SimDevice, r.Device)
	if device == r.Device {
		device = ""
	}
	s := &c.Search
	if !s.OwnSimulator() {
		return r.other(c, name, s.SimulationLLM, device, "--sim-dtype", s.SimDType, p)
	}
	t, err := config.WeightType("--sim-dtype", s.SimDType)
	if err != nil {
		return nil, err
	}
	if s.SimulationLLM == config.SimulatorPolicy {
		if device != "" || cmp.Or(t, p.DType) != p.DType {
			return nil, errors.New("--simulation-llm policy is the policy's own weights: leave --sim-device and " +
				"--sim-dtype out, or use --simulation-llm same")
		}
		return &Role{Name: name, Config: p.Config, Weights: p.Weights, IsPolicy: true}, nil
	}
	if !r.Trains && cmp.Or(t, p.DType) != p.DType { // the folder may hold more than the policy's type has kept of it
		return &Role{Name: name, Config: p.Config,
			Weights: Weights{Source: Own, Role: name, Dir: base, Device: device, DType: t}}, nil
	}
	return r.start(name, device, t, p), nil
}
