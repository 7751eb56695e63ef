package config

import (
	"errors"
	"time"
)

// Reward says how the reward that --reward names is computed.
type Reward struct {
	FormatWeight    float64       `name:"format-weight" help:"Share of the format in a reward format+NAME." default:"0.2"`
	NoSearchPenalty float64       `name:"no-search-penalty" help:"What an episode loses that never searches; with --no-answer-penalty, 0.1 each, F1 becomes F1+ of Search-R1++." default:"0"`
	NoAnswerPenalty float64       `name:"no-answer-penalty" help:"What an episode loses that ends without an answer." default:"0"`
	SearchPenalty   float64       `name:"search-penalty" help:"What an episode loses for each of its searches." default:"0"`
	RetrievalBonus  float64       `name:"retrieval-bonus" help:"What an episode gains if an accepted answer stands in a document that was returned." default:"0"`
	Workers         int           `name:"reward-workers" resume:"free" help:"How many of a reward program (exec:PROGRAM) run at once; changes speed, never a result." default:"1"`
	Timeout         time.Duration `name:"reward-timeout" resume:"free" help:"Longest wait for one answer of a reward program." default:"1m"`
}

func (c Reward) check() error {
	switch {
	case !(c.FormatWeight >= 0 && c.FormatWeight <= 1):
		return errors.New("--format-weight must lie between 0 and 1")
	case c.NoSearchPenalty < 0 || c.NoAnswerPenalty < 0 || c.SearchPenalty < 0 || c.RetrievalBonus < 0:
		return errors.New("--no-search-penalty, --no-answer-penalty, --search-penalty and --retrieval-bonus must not " +
			"be negative: penalties are subtracted")
	case c.Workers < 0 || c.Timeout < 0:
		return errors.New("--reward-workers and --reward-timeout must not be negative")
	}
	return nil
}
