package config

import (
	"errors"
	"time"
)

// Reward says how the reward that --reward names is computed.
type Reward struct {
	FormatWeight float64       `name:"format-weight" help:"Share of the format in a reward format+NAME." default:"0.2"`
	Workers      int           `name:"reward-workers" resume:"free" help:"How many of a reward program (exec:PROGRAM) run at once; changes speed, never a result." default:"1"`
	Timeout      time.Duration `name:"reward-timeout" resume:"free" help:"Longest wait for one answer of a reward program." default:"1m"`
}

func (c Reward) check() error {
	switch {
	case !(c.FormatWeight >= 0 && c.FormatWeight <= 1):
		return errors.New("--format-weight must lie between 0 and 1")
	case c.Workers < 0 || c.Timeout < 0:
		return errors.New("--reward-workers and --reward-timeout must not be negative")
	}
	return nil
}
