package main

import (
	"cmp"
	"context"
	"fmt"
	"hash/fnv"

	"github.com/zerosearch-go/zerosearch/engine"
	"github.com/zerosearch-go/zerosearch/rl/config"
	"github.com/zerosearch-go/zerosearch/rl/data"
	"github.com/zerosearch-go/zerosearch/rl/roles"
	"github.com/zerosearch-go/zerosearch/rl/search"
)

type simulateCmd struct {
	common
	simFlags
	modelFlags
	Data    string        `name:"data" help:"Requests, a JSON object a line: query, question, golden_answers, quality; - is stdin." default:"-" placeholder:"FILE"`
	Measure []string      `name:"measure" help:"Write no documents: score those in these folders and files (what simulate wrote, or a run's episodes)." placeholder:"DIR|FILE"`
	Seed    uint64        `name:"seed" help:"Seed of sampling; what a request gets depends on its content, not on its line." default:"1"`
	Search  config.Search `embed:""`
}

type simulateRequest struct {
	Query         string       `json:"query"`
	Question      string       `json:"question"`
	GoldenAnswers data.Answers `json:"golden_answers"`
	Quality       string       `json:"quality"`
}

type simulateAnswer struct {
	Query            string   `json:"query"`
	Quality          string   `json:"quality"`
	Documents        []string `json:"documents"`
	Raw              string   `json:"raw"`
	PromptTokens     int      `json:"prompt_tokens"`
	CompletionTokens int      `json:"completion_tokens"`
}

func (c *simulateCmd) Run(w *world) error {
	if c.Measure != nil {
		return c.measure(w)
	}
	if c.Search.NoiseRate == nil {
		c.Search.NoiseRate = new(float64) // no step, no curriculum
	}
	if err := c.Search.Check(); err != nil {
		return usageError{err}
	}
	if err := c.simFlags.check(&c.Search); err != nil {
		return err
	}
	if c.Model == "" && c.Search.SimulationLLM != "same" {
		c.Model = c.Search.SimulationLLM
	}
	if c.Search.SimThinking == nil {
		c.Search.SimThinking = c.Thinking // the model is the simulator here
	}
	var model *served
	defer func() {
		if model != nil {
			model.Close()
		}
	}()
	engines, err := roles.OpenSearch(w.ctx, &c.Search, func() (g search.Generator, err error) {
		on := c.common // the model is the simulator here
		on.Device = cmp.Or(c.SimDevice, c.Device)
		if model, err = c.serve(w, on); err != nil {
			return nil, err
		}
		return roles.EngineSimulator(model.eng, served0, model.model, model.model.Adapter, c.Search.SimThinking)
	})
	if err != nil {
		return err
	}
	w.notes(engines.Notes)
	s := c.Search.Meter().Wrap(engines.Searcher)
	in, err := w.input(c.Data)
	if err != nil {
		return err
	}
	defer in.Close()
	seen := map[uint64]uint64{}
	return eachLine(w, in, func(_ int, r simulateRequest) func(context.Context) (simulateAnswer, error) {
		h := r.hash()
		seen[h]++
		stream := engine.Stream(c.Seed, h, seen[h])
		return func(ctx context.Context) (simulateAnswer, error) { return r.answer(ctx, s, stream) }
	})
}

// hash is that of the request's content, so that neither its place nor other requests change what it gets.
func (r simulateRequest) hash() uint64 {
	h := fnv.New64a()
	fmt.Fprintf(h, "%q %q %q %q", r.Query, r.Question, r.GoldenAnswers, r.Quality)
	return h.Sum64()
}

func (r simulateRequest) answer(ctx context.Context, s search.Searcher, stream uint64) (simulateAnswer, error) {
	quality := search.Quality(r.Quality)
	switch {
	case r.Query == "":
		return simulateAnswer{}, fmt.Errorf("the request has no query")
	case quality != "" && quality != search.Useful && quality != search.Noisy:
		return simulateAnswer{}, fmt.Errorf("quality is %q: say useful or noisy, or leave it out", r.Quality)
	}
	d, err := s.Search(ctx, search.Query{Query: r.Query, Question: r.Question, GoldenAnswers: r.GoldenAnswers,
		Quality: quality, Stream: stream})
	if err != nil {
		return simulateAnswer{}, err
	}
	return simulateAnswer{r.Query, string(d.Quality), orEmpty(d.Docs), d.Raw, d.PromptTokens, d.CompletionTokens}, nil
}
