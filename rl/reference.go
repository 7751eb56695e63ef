package rl

import (
	"context"

	"github.com/zerosearch-go/zerosearch/engine/train"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/model"
	"github.com/zerosearch-go/zerosearch/rl/config"
	"github.com/zerosearch-go/zerosearch/rl/roles"
)

// openReference opens what the KL term is measured from, and the average that keeps it up to date where it is one.
func (t *Trainer) openReference(ctx context.Context, dev kernels.Device, o train.Options) error {
	ref, err := t.reference(ctx, dev)
	if err != nil {
		return err
	}
	if decay, average, _ := t.Config.Policy.EMADecay(); average {
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
func (t *Trainer) averaged(dev kernels.Device, decay float64) (_ *roles.LoadedModel, err error) {
	p := *t.Policy
	from, to := p.Model.Trained(), []*model.Param(nil)
	if p.Adapter != nil {
		from = p.Adapter.Trained()
		if p.Adapter, err = model.NewAdapter(p.Model, p.Adapter.Config, false, 0); err != nil {
			return nil, err
		}
		t.closers = append(t.closers, p.Adapter.Close)
		to = p.Adapter.All()
	} else {
		dtype, err := config.WeightType("--ref-dtype", t.Config.Policy.RefDType)
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
