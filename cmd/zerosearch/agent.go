package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/zerosearch-go/zerosearch/engine"
	"github.com/zerosearch-go/zerosearch/internal/await"
	"github.com/zerosearch-go/zerosearch/internal/fingerprint"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/rl/config"
	"github.com/zerosearch-go/zerosearch/rl/data"
	"github.com/zerosearch-go/zerosearch/rl/episode"
	"github.com/zerosearch-go/zerosearch/rl/roles"
	"github.com/zerosearch-go/zerosearch/rl/rollout"
	"github.com/zerosearch-go/zerosearch/rl/search"
)

// turnFlags bound an episode.
type turnFlags struct {
	MaxTurns    int `name:"max-turns" help:"Turns that may search; one final turn follows." default:"5"`
	MaxResponse int `name:"max-response-length" help:"Ids per turn." default:"500"`
	MaxStart    int `name:"max-start-length" help:"Ids of the prompt; longer questions are refused." default:"2048"`
	MaxObs      int `name:"max-obs-length" help:"Ids of one search result; longer ones are cut." default:"2048"`
}

// limitFlags bound an episode that is not trained on.
type limitFlags struct {
	turnFlags
	Greedy      bool    `name:"greedy" help:"Take the most likely id, always; --no-greedy samples." default:"true" negatable:""`
	Temperature float64 `name:"temperature" help:"Sampling temperature; given, it switches greedy off." default:"1"`
	TopP        float64 `name:"top-p" help:"Nucleus sampling." default:"1"`
	Concurrency int     `name:"concurrency" help:"Episodes in flight; changes speed and memory, never a result." default:"32"`
	Seed        uint64  `name:"seed" help:"Seed of everything that is drawn." default:"1"`
}

// sampling of the policy: greedy unless a temperature was asked for.
func (f limitFlags) sampling(w *world) (episode.Sampling, error) {
	if w.given("temperature") || !f.Greedy {
		switch {
		case w.given("greedy") && f.Greedy && f.Temperature > 0:
			return episode.Sampling{},
				usagef("--greedy and --temperature %v contradict each other: give one or the other", f.Temperature)
		case !(f.Temperature >= 0):
			return episode.Sampling{}, usagef("--temperature must not be negative")
		case !(f.TopP > 0 && f.TopP <= 1):
			return episode.Sampling{}, usagef("--top-p must be above 0 and at most 1")
		}
		s := episode.Sampling{Temperature: f.Temperature, TopP: f.TopP}
		if f.TopP >= 1 {
			s.TopP = 0
		}
		return s, nil
	}
	return episode.Sampling{}, nil
}

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

// openSimulator opens what writes documents, as the one rule of roles has it.
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

// Close gives everything back; the engines stop before what they run is freed.
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
