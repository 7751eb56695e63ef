package rl

import (
	"cmp"
	"context"
	"fmt"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/model"
	"github.com/zerosearch-go/zerosearch/rl/config"
	"github.com/zerosearch-go/zerosearch/rl/roles"
)

// start names a frozen copy of the starting weights.
type start struct {
	dev   kernels.Device
	dtype kernels.DType
}

// starting is the policy's base as it was before training, on dev, held as dtype (0: as the policy is): what the
// reference and the simulator `same` are. In full fine-tuning it is a frozen copy, one for each device and type; with
// LoRA, on the policy's device and of its type it is the base itself, adapters off.
func (t *Trainer) starting(dev kernels.Device, dtype kernels.DType) (*roles.LoadedModel, error) {
	base := t.Policy.Model
	at := start{dev, cmp.Or(dtype, base.DType)}
	if p := t.starts[at]; p != nil {
		return p, nil
	}
	s := t.Policy.WithoutAdapter()
	if t.Policy.Adapter == nil || at != (start{base.Device, base.DType}) {
		var err error
		if s, err = t.Policy.CopyTo(dev, at.dtype); err != nil {
			return nil, err
		}
		t.closers = append(t.closers, s.Close)
	}
	if t.starts == nil {
		t.starts = map[start]*roles.LoadedModel{}
	}
	t.starts[at] = s
	return s, nil
}

// frozenStart is starting with a frozen copy of the adapter that training began with, if it began with one.
func (t *Trainer) frozenStart(dev kernels.Device, dtype kernels.DType) (*roles.LoadedModel, error) {
	base, err := t.starting(dev, dtype)
	if err != nil || t.Policy.AdapterDir == "" {
		return base, err
	}
	s := *base
	if s.Adapter, err = model.LoadAdapter(s.Model, t.Policy.AdapterDir, false); err != nil {
		return nil, err
	}
	t.closers = append(t.closers, s.Adapter.Close)
	return &s, nil
}

// reference opens what the KL term is measured from.
func (t *Trainer) reference(ctx context.Context, dev kernels.Device) (*roles.LoadedModel, error) {
	c := &t.Config.Policy
	dtype, err := config.WeightType("--ref-dtype", c.RefDType)
	if err != nil {
		return nil, err
	}
	switch {
	case c.Reference == config.RefAdaptersOff:
		return t.starting(dev, dtype)
	case c.RefModel == "":
		return t.frozenStart(dev, dtype)
	}
	ref, err := t.other(ctx, dev, c.RefModel, dtype)
	if err != nil {
		return nil, fmt.Errorf("opening the reference: %w", err)
	}
	if err := roles.SameTokenizer(ref, t.Policy); err != nil {
		return nil, fmt.Errorf("opening the reference: %w", err)
	}
	return ref, nil
}

// simulator opens what writes the documents: the starting weights, an adapter over the policy's base where both can share it, or a model
// of its own.
func (t *Trainer) simulator(ctx context.Context, dev kernels.Device) (*roles.LoadedModel, error) {
	c := &t.Config.Search
	dtype, err := config.WeightType("--sim-dtype", c.SimDType)
	if err != nil {
		return nil, err
	}
	if c.SimulationLLM == "same" {
		return t.starting(dev, dtype)
	}
	p, err := t.other(ctx, dev, c.SimulationLLM, dtype)
	if err != nil {
		return nil, fmt.Errorf("opening the simulator: %w", err)
	}
	return p, nil
}

// other opens the model of another role: over the policy's base if that is frozen and what name says is an adapter
// that was made for it, else with weights of its own.
func (t *Trainer) other(ctx context.Context, dev kernels.Device, name string, dtype kernels.DType) (*roles.LoadedModel, error) {
	p, err := t.over(dev, name, dtype)
	if err != nil {
		return nil, err
	}
	if p != nil {
		t.closers = append(t.closers, p.Adapter.Close)
		t.Notes = append(t.Notes, p.Notes...)
		return p, nil
	}
	p, err = roles.Open(ctx, dev, roles.OpenOptions{Model: name, DType: dtype, Like: t.Policy.Model.DType})
	if err != nil {
		return nil, err
	}
	t.closers = append(t.closers, p.Close)
	t.Notes = append(t.Notes, p.Notes...)
	return p, nil
}

// over is the adapter in name over the policy's base, or over a copy of it on another device; nil if there is no such
// adapter, or the base is trained.
func (t *Trainer) over(dev kernels.Device, name string, dtype kernels.DType) (*roles.LoadedModel, error) {
	base := t.Policy
	if base.Adapter == nil {
		return nil, nil
	}
	if dev != base.Model.Device && (dtype == 0 || dtype == base.Model.DType) {
		made, _, err := roles.MadeFor(name, base.Dir)
		if err != nil || !made {
			return nil, err
		}
		if base, err = t.starting(dev, dtype); err != nil {
			return nil, err
		}
	}
	return base.Over(name, dtype)
}
