package roles

import (
	"context"
	"fmt"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/model"
)

// Opener opens the roles of a Cast beside a policy that is open. What several roles share is opened once.
type Opener struct {
	Policy *LoadedModel
	// Devices are those that Weights name; "" is the policy's.
	Devices map[string]kernels.Device
	// Stream keys the draw of a new adapter that is trained.
	Stream uint64
	// Notes tell the user what should be known.
	Notes []string

	shared  map[Weights]*LoadedModel
	closers []func()
}

// Close gives back what was opened, the last first; the policy is the caller's.
func (o *Opener) Close() {
	for i := len(o.closers) - 1; i >= 0; i-- {
		o.closers[i]()
	}
	o.closers, o.shared = nil, nil
}

// Open gives the model of a role.
func (o *Opener) Open(ctx context.Context, r *Role) (p *LoadedModel, err error) {
	if r.IsPolicy {
		own := *o.Policy
		own.Notes = nil
		return &own, nil
	}
	if p, err = o.weights(ctx, r); err != nil {
		return nil, fmt.Errorf("opening the %s: %w", r.Name, err)
	}
	o.Notes = append(o.Notes, r.Notes...)
	if r.Adapter == nil || p.Adapter != nil { // a folder of its own may have brought an adapter
		return p, nil
	}
	with := *p
	if r.Adapter.Dir != "" {
		with.AdapterDir = r.Adapter.Dir
		with.Adapter, err = model.LoadAdapter(p.Model, r.Adapter.Dir, r.Adapter.Trained)
	} else {
		stream := o.Stream
		if !r.Adapter.Trained {
			stream = 0 // what it begins with is copied into it
		}
		with.Adapter, err = model.NewAdapter(p.Model, o.Policy.Adapter.Config, r.Adapter.Trained, stream)
	}
	if err != nil {
		return nil, fmt.Errorf("opening the %s: %w", r.Name, err)
	}
	o.closers = append(o.closers, with.Adapter.Close)
	return &with, nil
}

// weights gives the model that is under a role's adapter.
func (o *Opener) weights(ctx context.Context, r *Role) (*LoadedModel, error) {
	w := r.Weights
	if p := o.shared[w]; p != nil {
		return p, nil
	}
	dev := o.Devices[w.Device]
	if w.Device == "" {
		dev = o.Policy.Model.Device
	}
	var p *LoadedModel
	var err error
	switch w.Source {
	case OfPolicy:
		return o.Policy.WithoutAdapter(), nil
	case Start:
		if p, err = o.Policy.CopyTo(dev, w.DType); err != nil {
			return nil, err
		}
	case Own:
		if p, err = Open(ctx, dev, OpenOptions{Model: w.Dir, DType: w.DType, Trainable: r.Trained || r.Adapter != nil,
			FrozenBase: r.Adapter != nil}); err != nil {
			return nil, err
		}
		o.Notes = append(o.Notes, p.Notes...)
	case Copy:
		p = o.Policy.WithoutAdapter()
		if p.Model, err = o.Policy.Model.Clone(model.Options{DType: w.DType, Trainable: r.Trained}); err != nil {
			return nil, err
		}
	}
	o.closers = append(o.closers, p.Close)
	if w.Source == Start {
		if o.shared == nil {
			o.shared = map[Weights]*LoadedModel{}
		}
		o.shared[w] = p
	}
	return p, nil
}
