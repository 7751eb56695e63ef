package main

import (
	"cmp"
	"fmt"
	"time"

	"github.com/zerosearch-go/zerosearch/internal/fingerprint"
	"github.com/zerosearch-go/zerosearch/rl/propose"
	"github.com/zerosearch-go/zerosearch/rl/roles"
	"github.com/zerosearch-go/zerosearch/rl/search"
	"github.com/zerosearch-go/zerosearch/rl/shards"
)

// proposeFlags let a model propose what simulate asks for.
type proposeFlags struct {
	Questions int    `name:"propose-questions" help:"Instead of --data: make questions from N passages of --corpus. The model writes a question and its answer, which stay if it answers alike with the passage and not without." default:"0"`
	Queries   int    `name:"propose-queries" help:"Make up to N search queries for each question; 0: rows without a query ask with their question." default:"0"`
	Model     string `name:"propose-model" help:"Model that proposes (default: --model)." placeholder:"DIR"`
	Known     bool   `name:"keep-known" help:"Keep questions that the model answers without the passage."`
}

// any reports whether something is to be proposed.
func (f proposeFlags) any() bool { return f.Questions > 0 || f.Queries > 0 }

// check refuses flags that contradict each other.
func (f proposeFlags) check(data, corpus string) error {
	switch {
	case f.Questions < 0 || f.Queries < 0:
		return usagef("--propose-questions and --propose-queries must not be negative")
	case f.Questions > 0 && (data != "-" || corpus == ""):
		return usagef("--propose-questions takes the place of --data and needs --corpus")
	case !f.any() && f.Model != "" || f.Questions == 0 && f.Known:
		return usagef("--propose-model needs --propose-queries or --propose-questions, and --keep-known the latter")
	}
	return nil
}

// newProposer is a model that proposes into folders below out.
func newProposer(w *world, out string, g search.Generator, seed uint64, concurrency int, m modelFlags,
) (*propose.Proposer, error) {
	p := &propose.Proposer{Out: out, Generator: g, Seed: seed, Concurrency: concurrency, Note: w.note,
		Parts: fingerprint.Parts{"seed": fmt.Sprint(seed), "dtype": m.DType},
		Progress: func(what string, s shards.Progress) {
			w.log.status("proposing %s: %s", what, progressLine(s, 0, time.Since(s.Began)))
		},
		Done: func(dir string, c shards.Counts) {
			w.log.done()
			w.log.line("%s: %s", dir, c)
		}}
	return p, modelContents(p.Parts, m.Model, m.Adapter, m.ChatTemplate)
}

// propose makes questions and queries and gives the files that hold what simulate asks for.
func (c *simulateCmd) propose(w *world, files []string) ([]string, error) {
	m := c.modelFlags
	m.Model = cmp.Or(c.proposeFlags.Model, m.Model)
	model, err := m.serve(w, c.common)
	if err != nil {
		return nil, err
	}
	defer model.Close()
	g, err := roles.EngineSimulator(model.eng, served0, model.model, model.model.Adapter, m.Thinking)
	if err != nil {
		return nil, err
	}
	p, err := newProposer(w, c.Out, g, c.Seed, c.Concurrency, m)
	if err != nil {
		return nil, err
	}
	if c.Questions > 0 {
		if files, err = p.Questions(w.ctx, c.Search.Corpus, c.Questions, c.Known); err != nil {
			return nil, err
		}
	}
	if c.Queries > 0 {
		files, err = p.Queries(w.ctx, files, c.Queries)
	}
	return files, err
}
