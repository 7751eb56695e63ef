package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/zerosearch-go/zerosearch/engine"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/devices"
	"github.com/zerosearch-go/zerosearch/rl/roles"
)

// open makes the device that the flags ask for.
func (c common) open(w *world) (kernels.Device, error) {
	why := ""
	dev, err := devices.Open(c.Device, devices.Options{Threads: c.Threads, Chosen: func(choice devices.Choice) {
		if why = " (auto: " + choice.Why + ")"; choice.GPU && choice.Name == devices.CPU && !c.Verbose {
			w.log.line("note: computing on the cpu: %s", choice.Why)
		}
	}})
	if err != nil {
		return nil, err
	}
	if c.Verbose {
		path := ""
		if d, ok := dev.(interface{ Path() string }); ok {
			path = ": path " + d.Path()
		}
		w.log.line("device %s%s%s", dev.Name(), path, why)
	}
	return dev, nil
}

// served is a model in an engine on a device.
type served struct {
	dev   kernels.Device
	eng   *engine.Engine
	model *roles.LoadedModel
	notes func(list []string)
}

const served0 = "model"

// serve opens device, model and engine. Close what it returns.
func (f modelFlags) serve(w *world, c common) (_ *served, err error) {
	if f.Model == "" {
		return nil, usagef("--model is missing: give a model folder")
	}
	open, kv, err := f.options()
	if err != nil {
		return nil, err
	}
	open.Model, open.Adapter = f.Model, f.Adapter
	s := &served{notes: w.notes}
	if s.dev, err = c.open(w); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	if s.model, err = roles.Open(w.ctx, s.dev, open); err != nil {
		return nil, err
	}
	w.notes(s.model.Notes)
	s.eng = engine.New(s.dev, engine.Options{Note: w.note})
	return s, s.eng.AddModel(served0, s.model.Model, kv)
}

// Close closes engine, model and device.
func (s *served) Close() {
	if s.eng != nil {
		s.eng.Close()
	}
	if s.model != nil {
		s.model.Close()
	}
	if s.dev != nil {
		s.dev.Close()
	}
}

// needTokenizer is the error of a request that holds text for a model that has ids only.
func needTokenizer(s *served) error {
	if s.model.Tokenizer != nil {
		return nil
	}
	return fmt.Errorf("the model has no tokenizer.json, so text cannot be read: send {\"ids\"}")
}

func joinArgs(words []string) string { return strings.Join(words, " ") }

// embedding shows how many passages have a vector.
func (w *world) embedding(done, total int) {
	if w.log.status("embedding passages: %d/%d", done, total); done == total {
		w.log.done()
	}
}

// note tells the user one thing.
func (w *world) note(text string) { w.notes([]string{text}) }

// notes tells the user what was found out about what is open.
func (w *world) notes(list []string) {
	for i, note := range list {
		if !slices.Contains(list[:i], note) { // a model may have several roles
			w.log.line("note: %s", inFlags(note))
		}
	}
}
