package rl

import (
	"fmt"

	"github.com/zerosearch-go/zerosearch/rl/search"
)

// Offline makes an engine that needs no model.
func (c SearchConfig) Offline() (search.Searcher, error) {
	switch c.Mode {
	case "none":
		return search.None{}, nil
	case "bm25":
		if c.Corpus == "" {
			return nil, fmt.Errorf("--search-mode bm25 needs --corpus FILE, a JSONL of {\"id\", \"contents\"}")
		}
		x, err := search.LoadBM25(c.Corpus)
		if err != nil {
			return nil, err
		}
		x.TopK = c.TopK
		return x, nil
	}
	return nil, fmt.Errorf("--search-mode %q is not known: use simulate_prompt, simulate_sft, bm25 or none", c.Mode)
}

// Simulated makes an engine that g plays.
func (c SearchConfig) Simulated(g search.Generator) (search.Searcher, error) {
	s := search.NewSimulated(g, search.Form(c.Mode), search.Curriculum{Start: c.StartThreshold, End: c.EndThreshold})
	s.TopK, s.MaxTokens, s.Temperature, s.NoiseRate = c.TopK, c.SimMaxTokens, c.SimTemperature, c.NoiseRate
	if err := s.Validate(); err != nil {
		return nil, err
	}
	return s, nil
}
