package roles

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/model"
	"github.com/zerosearch-go/zerosearch/rl/config"
	"github.com/zerosearch-go/zerosearch/rl/rundir"
)

// NamedModel is a model under the name that clients use for it.
type NamedModel struct {
	Name string
	*LoadedModel
	// Given is what the model was opened from, as the user wrote it, without the name.
	Given string
	// Weights is the index of the base weights: models with the same index share them.
	Weights int
	// Parent is the name of the model that an adapter was mounted over; "" for a model of its own.
	Parent string
}

// Gallery is a list of models that are open at the same time. Models over the same base folder share its weights.
type Gallery struct {
	Models []*NamedModel
	// Notes tell the user what should be known.
	Notes []string

	bases []*LoadedModel // without adapters, by NamedModel.Weights
	close []func()
}

// Close frees adapters and weights.
func (g *Gallery) Close() {
	for _, f := range slices.Backward(g.close) {
		f()
	}
	g.close = nil
}

// Bases are the base weights that the models share, by NamedModel.Weights.
func (g *Gallery) Bases() []*LoadedModel { return g.bases }

// Named splits NAME=DIR, what --model and --adapter may name. What exists as it stands has no name in it; the name is
// then made from the path (rundir.ModelName).
func Named(text string) (name, dir string) {
	if name, dir, ok := strings.Cut(text, "="); ok && name != "" && dir != "" {
		if _, err := os.Stat(text); err != nil {
			return name, dir
		}
	}
	return "", text
}

// OpenGallery opens models and adapters, each given as NAME=DIR or DIR. An adapter lies over the first of the models
// that it was made for, and is a model of its own beside it. Only a sole adapter without a name becomes part of a sole
// model. o.Model and o.Adapter are not used.
func OpenGallery(ctx context.Context, dev kernels.Device, models, adapters []string, o OpenOptions) (_ *Gallery,
	err error) {
	g := &Gallery{}
	defer func() {
		if err != nil {
			g.Close()
		}
	}()
	merged := ""
	if len(models) == 1 && len(adapters) == 1 {
		if name, dir := Named(adapters[0]); name == "" {
			merged, adapters = dir, nil
		}
	}
	for _, text := range models {
		m := &NamedModel{}
		if m.Name, m.Given = Named(text); m.Name == "" {
			m.Name = rundir.ModelName(m.Given)
		}
		o.Model, o.Adapter = m.Given, merged
		if err := g.model(ctx, dev, m, o); err != nil {
			return nil, err
		}
		if err := g.add(m); err != nil {
			return nil, err
		}
	}
	for _, text := range adapters {
		m := &NamedModel{}
		if m.Name, m.Given = Named(text); m.Name == "" {
			m.Name = rundir.ModelName(m.Given)
		}
		if err := g.adapter(m, len(models)); err != nil {
			return nil, err
		}
		if err := g.add(m); err != nil {
			return nil, err
		}
	}
	g.Notes = config.Notes(g.Notes)
	return g, nil
}

// add adds a model unless its name is taken.
func (g *Gallery) add(m *NamedModel) error {
	for _, other := range g.Models {
		if other.Name == m.Name {
			return fmt.Errorf("opening model %s: %s has the name %q, too: give each a name of its own, as NAME=DIR",
				m.Given, other.Given, m.Name)
		}
	}
	g.Models = append(g.Models, m)
	return nil
}

// model opens a model, with the weights of one that is open if they come from the same folder.
func (g *Gallery) model(ctx context.Context, dev kernels.Device, m *NamedModel, o OpenOptions) error {
	dir, err := rundir.ModelDir(o.Model)
	if err != nil {
		return err
	}
	base, note, err := AdapterBase(dir)
	if err != nil {
		return err
	}
	for i, p := range g.bases {
		switch {
		case base != "" && sameFile(base, p.Dir):
			if note != "" {
				g.Notes = append(g.Notes, note)
			}
			return g.mount(m, dir, i)
		case base == "" && sameFile(dir, p.Dir):
			own := *p
			m.LoadedModel, m.Weights = &own, i
			return nil
		}
	}
	if m.LoadedModel, err = Open(ctx, dev, o); err != nil {
		return err
	}
	g.close = append(g.close, m.LoadedModel.Close)
	g.Notes = append(g.Notes, m.Notes...)
	if note := otherThanBest(o.Model, dir); note != "" {
		g.Notes = append(g.Notes, note)
	}
	m.Weights = len(g.bases)
	g.bases = append(g.bases, m.LoadedModel.WithoutAdapter())
	return nil
}

// adapter mounts an adapter over the first of n models that it was made for; over a sole model in any case.
func (g *Gallery) adapter(m *NamedModel, n int) error {
	dir, err := rundir.ModelDir(m.Given)
	if err != nil {
		return err
	}
	if n == 1 {
		notes, err := mountedAsTold(dir, g.Models[0].Dir)
		if err != nil {
			return err
		}
		g.Notes = append(g.Notes, notes...)
		m.Parent = g.Models[0].Name
		return g.mount(m, dir, g.Models[0].Weights)
	}
	var bases []string
	for _, over := range g.Models[:n] {
		made, note, err := MadeFor(dir, over.Dir)
		if err != nil {
			return err
		}
		if made {
			if note != "" {
				g.Notes = append(g.Notes, note)
			}
			m.Parent = over.Name
			return g.mount(m, dir, over.Weights)
		}
		bases = append(bases, over.Name)
	}
	return fmt.Errorf("opening adapter %s: it was made for none of the models %s: give its base with another --model",
		m.Given, strings.Join(bases, ", "))
}

// mount loads the adapter in dir over base weights.
func (g *Gallery) mount(m *NamedModel, dir string, weights int) (err error) {
	p := *g.bases[weights]
	m.LoadedModel, m.Weights, p.AdapterDir = &p, weights, dir
	if p.Adapter, err = model.LoadAdapter(p.Model, dir, false); err != nil {
		return err
	}
	g.close = append(g.close, p.Adapter.Close)
	return nil
}

// otherThanBest is a note if name is a run directory whose last checkpoint, which it stands for, is not its best.
func otherThanBest(name, last string) string {
	best := filepath.Join(name, "checkpoints", "best")
	if at, err := os.Stat(best); err != nil || !at.IsDir() || filepath.Clean(name) == filepath.Clean(last) ||
		sameFile(best, last) {
		return ""
	}
	return fmt.Sprintf("%s is its last checkpoint, %s; the best one by its held-out questions is %s", name,
		filepath.Base(last), strconv.Quote(best))
}
