package main

import (
	"context"
	"fmt"
	"sync"

	"github.com/zerosearch-go/zerosearch/engine"
	"github.com/zerosearch-go/zerosearch/rl"
	"github.com/zerosearch-go/zerosearch/rl/episode"
	"github.com/zerosearch-go/zerosearch/rl/search"
)

// limitFlags bound an episode that is not trained on.
type limitFlags struct {
	MaxTurns    int     `name:"max-turns" help:"Turns that may search; one final turn follows." default:"5"`
	MaxResponse int     `name:"max-response-length" help:"Ids per turn." default:"500"`
	MaxStart    int     `name:"max-start-length" help:"Ids of the prompt; longer questions are refused." default:"2048"`
	MaxObs      int     `name:"max-obs-length" help:"Ids of one search result; longer ones are cut." default:"2048"`
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
			return episode.Sampling{}, usagef("--greedy and --temperature %v contradict each other: give one or the other", f.Temperature)
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
	roller  rl.Roller
	engines *rl.Engines
	meter   *search.Meter
	close   []func()
	log     *progress
	tight   sync.Once // says that the context is small
}

// newAgent opens policy and search engine.
func newAgent(w *world, c common, m modelFlags, s rl.SearchConfig, l limitFlags) (_ *agent, err error) {
	sampling, err := l.sampling(w)
	if err != nil {
		return nil, err
	}
	if err := s.Check(); err != nil {
		return nil, usageError{err}
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
	if a.model.Tokenizer == nil {
		return nil, fmt.Errorf("opening the policy %s: it has no tokenizer.json, and questions are text", a.model.Dir)
	}
	engines, err := s.Open(w.ctx, func() (search.Generator, error) {
		g, closer, err := simulator(w.ctx, a.served, s)
		a.close = append(a.close, closer)
		return g, err
	})
	if err != nil {
		return nil, err
	}
	a.engines = engines
	w.notes(engines.Notes)
	a.meter = s.Meter()
	if err := a.model.Template.Err(); err != nil {
		return nil, fmt.Errorf("opening %s: %w", a.model.Dir, err)
	}
	context := contextOf(m, a.model)
	a.roller = rl.Roller{Prompter: rl.Prompter{Tokenizer: a.model.Tokenizer, Template: a.model.Template, MaxTokens: min(l.MaxStart, context-1)}, Concurrency: l.Concurrency,
		Runner: episode.Runner{Policy: rl.Policy(a.eng, served0, a.model), Searcher: a.meter.Over(engines.Searcher), Tokenizer: episode.Text(a.model.Tokenizer),
			Config: episode.Config{MaxTurns: l.MaxTurns, MaxResponse: l.MaxResponse, MaxObservation: l.MaxObs, MaxContext: context, Sampling: sampling}}}
	if err := a.roller.Runner.Config.Validate(); err != nil {
		return nil, usageError{err}
	}
	return a, nil
}

// contextOf is the longest episode.
func contextOf(m modelFlags, p *rl.Opened) int {
	n := m.MaxContext
	if n <= 0 {
		n = 4096
	}
	return min(n, p.Model.Config.MaxPos)
}

// simulator makes the writer of documents: the served model without its adapter ("same"), another adapter over the same base, or a
// model of its own. The caller calls close, also after an error.
func simulator(ctx context.Context, s *served, c rl.SearchConfig) (g search.Generator, close func(), err error) {
	close = func() {}
	dtype, err := rl.WeightType("--sim-dtype", c.SimDType)
	if err != nil {
		return nil, close, usageError{err}
	}
	llm, shares := c.SimulationLLM, dtype == 0 || dtype == s.model.Model.DType
	if (llm == "same" || llm == "") && shares {
		g, err = rl.Simulator(s.eng, served0, s.model, nil, c.SimThinking)
		return g, close, err
	}
	if llm == "same" || llm == "" {
		llm = s.model.Dir
	}
	over, err := s.model.Over(llm, dtype)
	if err != nil {
		return nil, close, fmt.Errorf("opening the simulator: %w", err)
	}
	if over != nil {
		s.notes(over.Notes)
		g, err = rl.Simulator(s.eng, served0, over, over.Adapter, c.SimThinking)
		return g, over.Adapter.Close, err
	}
	p, err := rl.Open(ctx, s.dev, rl.OpenOptions{Model: llm, DType: dtype, Like: s.model.Model.DType})
	if err != nil {
		return nil, close, fmt.Errorf("opening the simulator: %w", err)
	}
	s.notes(p.Notes)
	const name = "simulator"
	if err = s.eng.AddModel(name, p.Model, engine.ModelOptions{}); err == nil {
		g, err = rl.Simulator(s.eng, name, p, p.Adapter, c.SimThinking)
	}
	return g, p.Close, err
}

// Close gives everything back; the engine stops before the simulator it may run is freed.
func (a *agent) Close() {
	if a.served == nil {
		return
	}
	if a.eng != nil {
		a.eng.Close()
		a.eng = nil
	}
	for _, f := range a.close {
		f()
	}
	a.served.Close()
}
