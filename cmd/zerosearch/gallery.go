package main

import (
	"fmt"

	"github.com/zerosearch-go/zerosearch/engine"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/rl/roles"
	"github.com/zerosearch-go/zerosearch/serve"
)

// models are the models in an engine on a device.
type models struct {
	dev kernels.Device
	eng *engine.Engine
	*roles.Gallery
}

// open opens device, models and engine. Close what it returns.
func (c *serveCmd) open(w *world) (_ *models, err error) {
	o, kv, err := c.options()
	if err != nil {
		return nil, err
	}
	o.Vectors = true
	s := &models{}
	if s.dev, err = c.common.open(w); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	if s.Gallery, err = roles.OpenGallery(w.ctx, s.dev, c.Models, c.Adapters, o); err != nil {
		return nil, err
	}
	w.notes(s.Notes)
	s.eng = engine.New(s.dev, engine.Options{Note: w.note})
	for i, p := range s.Bases() {
		if err := s.eng.AddModel(engineName(i), p.Model, kv); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// engineName is the name of base weights in the engine.
func engineName(weights int) string {
	if weights == 0 {
		return served0
	}
	return fmt.Sprintf("%s%d", served0, weights+1)
}

// Close closes engine, models and device.
func (s *models) Close() {
	s.closeEngine()
	if s.Gallery != nil {
		s.Gallery.Close()
	}
	s.dev.Close()
}

// use says what clients may ask a model for.
func (c *serveCmd) use(m *roles.NamedModel) serve.Use {
	switch {
	case m.Embeds:
		return serve.Embeds
	case c.Embeddings:
		return serve.GeneratesAndEmbeds
	}
	return serve.Generates
}

// served are the models under their names.
func (c *serveCmd) served(s *models) (all []serve.Model) {
	for i, m := range s.Models {
		names := []string{m.Name}
		if i == 0 && len(c.Names) > 0 {
			names = c.Names
		}
		for _, name := range names {
			all = append(all, serve.Model{ID: name, Root: m.Given, Parent: m.Parent, Engine: engineName(m.Weights),
				Adapter: m.Adapter, Config: m.Model.Config, Tokenizer: m.Tokenizer, Template: m.Template,
				EOS: m.EOS(), Use: c.use(m)})
		}
	}
	return all
}

// closeEngine ends what runs.
func (s *models) closeEngine() {
	if s.eng != nil {
		s.eng.Close()
		s.eng = nil
	}
}
