package rl

import (
	"context"
	"fmt"

	"github.com/zerosearch-go/zerosearch/engine/train"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/rl/roles"
)

// openReference opens what the KL term is measured from, and the average that keeps it up to date where it is one.
func (t *Trainer) openReference(ctx context.Context, dev kernels.Device, o train.Options) error {
	ref, err := t.models.Open(ctx, t.cast.Reference)
	if err != nil {
		return err
	}
	t.openedModels(1)
	if err := roles.SameTokenizer(ref, t.Policy); err != nil {
		return fmt.Errorf("opening the reference: %w", err)
	}
	if t.cast.Reference.Averaged {
		if err := t.follow(dev, ref); err != nil {
			return err
		}
	}
	if t.Updater.Reference, err = train.NewScorer(dev, ref.Model, ref.Adapter, o); err != nil {
		return err
	}
	t.closers = append(t.closers, t.Updater.Reference.Close)
	return nil
}

// follow makes ref an average of what is trained: of the adapter where there is one, or else of the model.
func (t *Trainer) follow(dev kernels.Device, ref *roles.LoadedModel) (err error) {
	decay, _, err := t.Config.Policy.EMADecay()
	if err != nil {
		return err
	}
	from, to := t.Policy.Model.Trained(), ref.Model.All()
	if t.Policy.Adapter != nil {
		from, to = t.Policy.Adapter.Trained(), ref.Adapter.All()
	}
	if t.Updater.Average, err = train.NewAverage(dev, from, to, decay, t.group()); err == nil {
		t.closers = append(t.closers, t.Updater.Average.Close)
	}
	return err
}
