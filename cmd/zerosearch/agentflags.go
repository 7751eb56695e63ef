package main

import (
	"github.com/zerosearch-go/zerosearch/rl/episode"
)

// turnFlags bound an episode.
type turnFlags struct {
	MaxTurns    int `name:"max-turns" help:"Turns that may search; one final turn follows." default:"5"`
	MaxResponse int `name:"max-response-length" help:"Tokens per turn." default:"500"`
	MaxStart    int `name:"max-start-length" help:"Tokens of the prompt; longer questions are refused." default:"2048"`
	MaxObs      int `name:"max-obs-length" help:"Tokens of one search result; longer ones are cut." default:"2048"`
}

// limitFlags bound an episode that is not trained on.
type limitFlags struct {
	turnFlags
	Greedy      bool    `name:"greedy" help:"Always take the most likely token; --no-greedy samples." default:"true" negatable:""`
	Temperature float64 `name:"temperature" help:"Sampling temperature; given, it switches greedy off." default:"1"`
	TopP        float64 `name:"top-p" help:"Nucleus sampling; 1: off." default:"1"`
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
