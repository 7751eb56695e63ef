package main

import (
	"context"
	"fmt"
	"hash/fnv"

	"github.com/zerosearch-go/zerosearch/engine"
	"github.com/zerosearch-go/zerosearch/rl"
	"github.com/zerosearch-go/zerosearch/rl/search"
)

type simulateCmd struct {
	common
	modelFlags
	Data        string   `name:"data" help:"Requests, a JSON object a line: query, question, golden_answers, quality; - is stdin." default:"-" placeholder:"FILE"`
	Mode        string   `name:"search-mode" help:"Prompt: simulate_prompt (with a demonstration) or simulate_sft (for a simulator that was fine-tuned)." default:"simulate_prompt" enum:"simulate_prompt,simulate_sft"`
	NoiseRate   *float64 `name:"noise-rate" help:"Share of noisy documents where a request does not say (default: 0)." placeholder:"P"`
	TopK        int      `name:"topk" help:"Documents per query." default:"5"`
	MaxTokens   int      `name:"simulation-max-tokens" help:"Longest result." default:"600"`
	Temperature float64  `name:"simulation-temperature" help:"Sampling temperature." default:"0.8"`
	Seed        uint64   `name:"seed" help:"Seed of sampling; what a request gets depends on its content, not on its line." default:"1"`
}

type simulateRequest struct {
	Query         string   `json:"query"`
	Question      string   `json:"question"`
	GoldenAnswers []string `json:"golden_answers"`
	Quality       string   `json:"quality"`
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
	if c.NoiseRate == nil {
		c.NoiseRate = new(float64)
	}
	cfg := rl.SearchConfig{Mode: c.Mode, TopK: c.TopK, NoiseRate: c.NoiseRate, SimMaxTokens: c.MaxTokens, SimTemperature: c.Temperature}
	if err := checkSearch(cfg); err != nil {
		return err
	}
	if c.MaxTokens < 1 || !(c.Temperature >= 0) {
		return usagef("--simulation-max-tokens must be at least 1 and --simulation-temperature not negative")
	}
	s, err := c.serve(w, c.common)
	if err != nil {
		return err
	}
	defer s.Close()
	g, err := rl.Simulator(s.eng, served0, s.model, s.model.Adapter)
	if err != nil {
		return err
	}
	sim, err := cfg.Simulated(g)
	if err != nil {
		return err
	}
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
		return func(ctx context.Context) (simulateAnswer, error) { return r.answer(ctx, sim, stream) }
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
	d, err := s.Search(ctx, search.Query{Query: r.Query, Question: r.Question, GoldenAnswers: r.GoldenAnswers, Quality: quality, Stream: stream})
	if err != nil {
		return simulateAnswer{}, err
	}
	return simulateAnswer{r.Query, string(d.Quality), orEmpty(d.Docs), d.Raw, d.PromptTokens, d.CompletionTokens}, nil
}
