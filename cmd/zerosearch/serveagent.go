package main

import (
	"github.com/zerosearch-go/zerosearch/rl/assistant"
	"github.com/zerosearch-go/zerosearch/rl/episode"
	"github.com/zerosearch-go/zerosearch/rl/roles"
	"github.com/zerosearch-go/zerosearch/serve"
	searchagent "github.com/zerosearch-go/zerosearch/serve/agent"
)

// agentID is the name of the first model as a search agent; those of others are ID-agent.
const agentID = "zerosearch-agent"

// agents are the served models as search agents over the same documents.
type agents struct {
	*agent
	options assistant.Options // of the first model
}

// check reads the flags of the agents. on is false where there is nothing to search.
func (f *documentFlags) check(w *world, model string) (on bool, err error) {
	if err := f.chooseEngine(w, model); err != nil {
		return false, err
	}
	if f.Search.Corpus == "" && !w.given("search-mode") {
		for _, flag := range []string{"method", "style", "topk", "index", "embedding-model", "max-turns"} {
			if w.given(flag) {
				return false, usagef("--%s is for answers from documents: give --docs, --corpus or --search-mode", flag)
			}
		}
		return false, nil
	}
	if _, _, err := f.how(); err != nil {
		return false, err
	}
	f.noteMadeUp(w)
	return true, f.simFlags.checkSearch(&f.Search)
}

// agents opens what is searched. Close it after the engine.
func (c *serveCmd) agents(w *world, s *models) (*agents, error) {
	first := s.Models[0]
	m := modelFlags{Model: first.Given, weightFlags: c.weightFlags}
	if len(c.Models) == 1 && len(s.Models) == 1 && len(c.Adapters) == 1 {
		m.Adapter = c.Adapters[0] // a part of the model
	}
	a := &agents{agent: &agent{log: w.log, served: &served{dev: s.dev, eng: s.eng, model: first.LoadedModel,
		notes: w.notes}}}
	if err := a.open(w, c.common, m, c.simFlags, c.Search, c.turnFlags); err != nil {
		a.closeSearch()
		return nil, err
	}
	if err := a.worker.Runner.Config.Validate(); err != nil {
		a.closeSearch()
		return nil, usageError{err}
	}
	method, style, _ := c.how() // checked before
	a.options = c.documentFlags.assistant(a.agent, method, style)
	if a.options.Corpus != nil {
		w.log.line("%s", a.options.Corpus.Summary())
	}
	return a, nil
}

// add adds an agent to the models for each that reads text.
func (a *agents) add(chat []serve.Model, s *models, c *serveCmd) []serve.Model {
	out := chat
	base := assistant.New(a.options)
	for i, m := range s.Models {
		if m.Tokenizer == nil || m.Template.Err() != nil {
			continue
		}
		id := chat[0].ID
		if i > 0 {
			id = m.Name
		}
		agent := serve.Model{ID: agentID, Root: m.Given, Parent: id, Engine: engineName(m.Weights),
			Config: m.Model.Config, Tokenizer: m.Tokenizer, Template: m.Template, Agent: searchagent.New(base)}
		if i > 0 {
			agent.ID = m.Name + "-agent"
			agent.Agent = searchagent.New(base.With(func(o *assistant.Options) {
				o.Trained = m.Trained()
				w, context := &o.Worker, contextOf(c.MaxContext, m.LoadedModel)
				w.Prompter.Tokenizer, w.Prompter.Template = m.Tokenizer, m.Template
				w.Prompter.MaxTokens = min(c.MaxStart, context-1)
				w.Runner.Policy = roles.EnginePolicy(s.eng, engineName(m.Weights), m.LoadedModel)
				w.Runner.Tokenizer, w.Runner.Config.MaxContext = episode.Text(m.Tokenizer), context
			}))
		}
		out = append(out, agent)
	}
	return out
}
