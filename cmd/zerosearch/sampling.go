package main

import (
	"math"

	"github.com/zerosearch-go/zerosearch/engine"
)

// samplingFlags say how tokens are drawn.
type samplingFlags struct {
	Temperature float64 `name:"temperature" help:"Sampling temperature; 0 is greedy." default:"1"`
	TopP        float64 `name:"top-p" help:"Nucleus sampling; 1: off." default:"1"`
	TopK        int     `name:"top-k" help:"Sample from the K most likely tokens; 0: from all." default:"0"`
	MinP        float64 `name:"min-p" help:"Sample from the K most likely tokens; 0: from all." default:"0"`

	Bias       map[int32]float64 `name:"logit-bias" help:"Added to the logit of a token; may be repeated." placeholder:"ID=BIAS" mapsep:","`
	Repetition float64           `name:"repetition-penalty" help:"Divides the positive logits of tokens that occur in prompt or text, and multiplies negative ones; 1: off." default:"1"`
	Presence   float64           `name:"presence-penalty" help:"Subtracted from the logit of every token that was generated." default:"0"`
	Frequency  float64           `name:"frequency-penalty" help:"Subtracted from the logit of a token for each time that it was generated." default:"0"`

	Seed uint64 `name:"seed" help:"Seed of sampling." default:"1"`
}

// check refuses invalid settings before a model is loaded.
func (f *samplingFlags) check() error {
	switch {
	case !(f.Temperature >= 0):
		return usagef("--temperature must not be negative; 0 is greedy")
	case !(f.TopP > 0 && f.TopP <= 1) || !(f.MinP >= 0 && f.MinP <= 1) || f.TopK < 0:
		return usagef("--top-p must be above 0 and at most 1, --min-p between 0 and 1, --top-k not negative")
	case !(f.Repetition > 0 && f.Repetition <= 1e6):
		return usagef("--repetition-penalty must be above 0 and at most 1e6; 1 is off")
	case !(math.Abs(f.Presence) <= 1e6) || !(math.Abs(f.Frequency) <= 1e6):
		return usagef("--presence-penalty and --frequency-penalty must lie between -1e6 and 1e6")
	}
	return nil
}

// request continues prompt with the model of s by most tokens at most; the n-th request has random numbers of its own.
func (f *samplingFlags) request(s *served, prompt []int32, most int, n uint64) engine.Request {
	return engine.Request{Model: served0, Adapter: s.model.Adapter, Prompt: prompt, MaxTokens: most,
		Temperature: f.Temperature, TopK: f.TopK, TopP: f.TopP, MinP: f.MinP, Stream: engine.Stream(f.Seed, n),
		Penalties: engine.Penalties{LogitBias: f.Bias, Repetition: f.Repetition, Presence: f.Presence,
			Frequency: f.Frequency}}
}
