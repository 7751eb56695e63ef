package main

import (
	"fmt"
	"slices"

	"github.com/zerosearch-go/zerosearch/engine"
	"github.com/zerosearch-go/zerosearch/internal/fingerprint"
	"github.com/zerosearch-go/zerosearch/rl/config"
	"github.com/zerosearch-go/zerosearch/rl/data"
	"github.com/zerosearch-go/zerosearch/rl/episode"
	"github.com/zerosearch-go/zerosearch/rl/roles"
	"github.com/zerosearch-go/zerosearch/rl/rollout"
	"github.com/zerosearch-go/zerosearch/rl/search"
)

// agent is a served policy with a search engine.
type agent struct {
	*served
	simulating *engine.Engine // of the simulator's own device; nil without one
	worker     rollout.Worker
	engines    *roles.SearchEngines
	meter      *search.Meter
	close      []func()
	log        *progress
}

// newAgent opens policy and search engine.
func newAgent(w *world, c common, m modelFlags, sim simFlags, s config.Search, l limitFlags) (_ *agent, err error) {
	sampling, err := l.sampling(w)
	if err != nil {
		return nil, err
	}
	if err := sim.checkSearch(&s); err != nil {
		return nil, err
	}
	a := &agent{log: w.log}
	if a.served, err = m.serve(w, c); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			a.Close()
		}
	}()
	if err := a.open(w, c, m, sim, s, l.turnFlags); err != nil {
		return nil, err
	}
	a.worker.Concurrency, a.worker.Runner.Config.Sampling = l.Concurrency, sampling
	if err := a.worker.Runner.Config.Validate(); err != nil {
		return nil, usageError{err}
	}
	return a, nil
}

// open opens the search engine of a served policy and makes its worker.
func (a *agent) open(w *world, c common, m modelFlags, sim simFlags, s config.Search, l turnFlags) error {
	if a.model.Tokenizer == nil {
		return fmt.Errorf("opening the policy %s: it has no tokenizer.json, and questions are text", a.model.Dir)
	}
	end, err := sim.open(w, c, &s)
	if err != nil {
		return err
	}
	a.close = append(a.close, end)
	s.Threads, s.Progress = c.Threads, w.embedding
	engines, err := roles.OpenSearch(w.ctx, &s, func() (search.Generator, error) { return a.simulator(w.ctx, m, s) })
	if err != nil {
		return err
	}
	a.engines = engines
	a.close = append(a.close, engines.Close)
	w.notes(engines.Notes)
	a.meter = s.Meter()
	if err := a.model.Template.Err(); err != nil {
		return fmt.Errorf("opening %s: %w", a.model.Dir, err)
	}
	context := contextOf(m.MaxContext, a.model)
	a.worker = rollout.Worker{Prompter: rollout.Prompter{Tokenizer: a.model.Tokenizer, Template: a.model.Template,
		MaxTokens: min(l.MaxStart, context-1)}, Concurrency: 1,
		Runner: episode.Runner{Policy: roles.EnginePolicy(a.eng, served0, a.model),
			Searcher: a.meter.Wrap(engines.Searcher), Tokenizer: episode.Text(a.model.Tokenizer),
			Config: episode.Config{MaxTurns: l.MaxTurns, MaxResponse: l.MaxResponse, MaxObservation: l.MaxObs,
				MaxContext: context}}}
	return nil
}

// parts are what the agent's episodes come from: the flags but for those in free, the model and its adapter, the
// questions, what is searched.
func (a *agent) parts(w *world, m modelFlags, s *config.Search, questions []data.Question,
	free []string) (fingerprint.Parts, error) {
	out := w.settings(free...)
	out["data"] = fingerprint.Mark + (&data.Set{Questions: questions}).Digest()
	if err := modelContents(out, m.Model, m.Adapter, m.ChatTemplate); err != nil {
		return nil, err
	}
	searched, err := roles.SearchParts(s, a.engines)
	out.Merge(searched)
	return out, err
}

// sampled is how many ids were drawn, the simulator's included.
func (a *agent) sampled() int64 {
	n := a.eng.Sampled()
	if a.simulating != nil {
		n += a.simulating.Sampled()
	}
	return n
}

// Close closes engines, models, search engine and devices; the engines stop first.
func (a *agent) Close() {
	if a.served == nil {
		return
	}
	if a.eng != nil {
		a.eng.Close()
		a.eng = nil
	}
	a.closeSearch()
	a.served.Close()
}

// closeSearch closes what open has opened, after the engine.
func (a *agent) closeSearch() {
	if a.simulating != nil {
		a.simulating.Close()
	}
	for _, f := range slices.Backward(a.close) {
		f()
	}
}
