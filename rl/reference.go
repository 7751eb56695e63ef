package rl

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/zerosearch-go/zerosearch/engine/train"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/model"
)

// Values of --reference.
const (
	refFrozen      = "frozen"
	refAdaptersOff = "adapters-off"
	refAverage     = "ema:" // followed by the decay
	refNone        = "none"
)

// emaDecay reads --reference ema:DECAY; false for another reference.
func (c PolicyConfig) emaDecay() (decay float64, is bool, err error) {
	text, is := strings.CutPrefix(c.Reference, refAverage)
	if !is {
		return 0, false, nil
	}
	if decay, err = strconv.ParseFloat(text, 64); err != nil || !(decay > 0 && decay < 1) {
		return 0, true, fmt.Errorf("--reference %s: the decay must lie between 0 and 1, as in ema:0.99", c.Reference)
	}
	return decay, true, nil
}

// checkReference refuses references that contradict other flags.
func (c *Config) checkReference() error {
	p := &c.Policy
	_, average, err := p.emaDecay()
	switch {
	case err != nil:
		return err
	case p.Reference == "":
		return nil
	case !average && p.Reference != refFrozen && p.Reference != refAdaptersOff && p.Reference != refNone:
		return fmt.Errorf("--reference %q is not known: use frozen, adapters-off, ema:DECAY or none", p.Reference)
	case p.Reference == refNone && c.Algo.KLCoef > 0:
		return fmt.Errorf("--reference none leaves nothing to measure --kl-coef %v from: add --kl-coef 0, or choose a reference", c.Algo.KLCoef)
	case p.Reference == refNone:
		return nil
	case c.Algo.KLCoef == 0:
		return fmt.Errorf("--reference %s is of no use with --kl-coef 0: raise --kl-coef or leave it out", p.Reference)
	case p.RefModel != "":
		return errors.New("--ref-model and --reference contradict each other: give one or the other")
	case p.Reference == refAdaptersOff && p.LoRAR == 0 && p.Adapter == "":
		return errors.New("--reference adapters-off needs an adapter to switch off: --lora-r or --adapter")
	}
	return nil
}

// openReference opens what the KL term is measured from, and the average that keeps it up to date where it is one.
func (t *Trainer) openReference(ctx context.Context, dev kernels.Device, o train.Options) error {
	ref, err := t.reference(ctx, dev)
	if err != nil {
		return err
	}
	if decay, average, _ := t.Config.Policy.emaDecay(); average {
		if ref, err = t.averaged(dev, decay); err != nil {
			return err
		}
	}
	if t.Updater.Reference, err = train.NewScorer(dev, ref.Model, ref.Adapter, o); err != nil {
		return err
	}
	t.closers = append(t.closers, t.Updater.Reference.Close)
	return nil
}

// averaged makes a copy of what is trained that follows it: of the adapter where there is one, or else of the model.
func (t *Trainer) averaged(dev kernels.Device, decay float64) (_ *Opened, err error) {
	p := *t.Policy
	from, to := p.Model.Params(), []*model.Param(nil)
	if p.Adapter != nil {
		from = p.Adapter.Params()
		if p.Adapter, err = model.NewAdapter(p.Model, p.Adapter.Config, false, 0); err != nil {
			return nil, err
		}
		t.closers = append(t.closers, p.Adapter.Close)
		to = p.Adapter.All()
	} else {
		dtype, err := WeightType("--ref-dtype", t.Config.Policy.RefDType)
		if err != nil {
			return nil, err
		}
		if p.Model, err = p.Model.Clone(model.Options{DType: dtype}); err != nil {
			return nil, err
		}
		t.closers = append(t.closers, p.Model.Close)
		to = p.Model.All()
	}
	t.Updater.Average, err = train.NewAverage(dev, from, to, decay)
	if err == nil {
		t.closers = append(t.closers, t.Updater.Average.Close)
	}
	return &p, err
}
