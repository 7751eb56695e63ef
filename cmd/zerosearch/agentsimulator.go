package main

import (
	"context"

	"github.com/zerosearch-go/zerosearch/engine"
	"github.com/zerosearch-go/zerosearch/internal/await"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/rl/config"
	"github.com/zerosearch-go/zerosearch/rl/roles"
	"github.com/zerosearch-go/zerosearch/rl/search"
)

// contextOf is the longest episode.
func contextOf(n int, p *roles.LoadedModel) int {
	if n <= 0 {
		n = 4096
	}
	return min(n, p.Model.Config.MaxPos)
}

// simulator makes the writer of documents. What it opens is closed with a.
func (a *agent) simulator(ctx context.Context, m modelFlags, s config.Search) (g search.Generator, err error) {
	var p *roles.LoadedModel
	if err := a.eng.Do(ctx, func() (err error) { // the simulator's own device, if it has one, has no engine yet
		p, err = a.openSimulator(ctx, m, s)
		return err
	}); err != nil {
		return nil, err
	}
	eng, name := a.eng, served0
	if s.Device != nil {
		a.simulating = engine.New(s.Device, engine.Options{Note: func(text string) { a.notes([]string{text}) }})
		eng = a.simulating
	}
	if p.Model != a.model.Model {
		name = "simulator"
		if err := eng.AddModel(name, p.Model, engine.ModelOptions{}); err != nil {
			return nil, err
		}
	}
	return roles.EngineSimulator(eng, name, p, p.Adapter, s.SimThinking)
}

// openSimulator opens the model that writes documents, by the rules of package roles.
func (a *agent) openSimulator(ctx context.Context, m modelFlags, s config.Search) (*roles.LoadedModel, error) {
	r := roles.Resolver{DType: a.model.Model.DType, Device: a.dev.Name()}
	o := &roles.Opener{Policy: a.model, Devices: map[string]kernels.Device{}}
	if s.Device != nil {
		r.SimDevice = s.Device.Name()
		o.Devices[r.SimDevice] = s.Device
	}
	a.close = append(a.close, o.Close)
	cast, err := await.Call(ctx, func() (*roles.Cast, error) {
		return r.Resolve(&config.Config{Policy: config.Policy{Model: m.Model, Adapter: m.Adapter}, Search: s})
	})
	if err != nil {
		return nil, err
	}
	p, err := o.Open(ctx, cast.Simulator)
	a.notes(o.Notes)
	return p, err
}
