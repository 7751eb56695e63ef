package rl

import (
	"errors"
	"fmt"

	"github.com/zerosearch-go/zerosearch/rl/config"
	"github.com/zerosearch-go/zerosearch/rl/episode"
	"github.com/zerosearch-go/zerosearch/rl/reward"
	"github.com/zerosearch-go/zerosearch/rl/rundir"
	"github.com/zerosearch-go/zerosearch/rl/search"
)

// Config is every option of a run; Defaults fills it in.
type Config = config.Config

// Defaults is the configuration of a run in which nothing was chosen, the same as that of the command line. Set at
// least Policy.Model and Data.Data in it, and Schedule.Out for anything to be kept.
func Defaults() Config { return config.Defaults() }

// Option gives a run something that a configuration cannot name.
type Option func(t *Trainer)

// WithReward gives the rewards of a program's own, instead of those that Algo.Reward names. They must depend on the
// attempts alone, or a run cannot be repeated.
func WithReward(s reward.Scorer) Option {
	return func(t *Trainer) { t.scorer = s }
}

// WithSearcher answers the searches by an engine of a program's own, instead of those that Search.Mode names. No
// simulator is opened then.
func WithSearcher(s search.Searcher) Option {
	return func(t *Trainer) { t.searches = s }
}

// WithEnvironment lets the policy act in another environment than a search engine. Search.Mode is not used then.
func WithEnvironment(e episode.Environment) Option {
	return func(t *Trainer) { t.environment = e }
}

// Tracker takes the numbers of each step, beside the run directory: to show them, or to send them elsewhere.
type Tracker interface {
	// Track is called after each step, in order, with the metrics that metrics.jsonl has, of several ranks in rank 0.
	// An error ends the run.
	Track(step int, m rundir.Metrics) error
}

// WithTracker calls a tracker after each step; several may be given.
func WithTracker(k Tracker) Option {
	return func(t *Trainer) { t.trackers = append(t.trackers, k) }
}

// track hands the metrics of a step to the trackers.
func (t *Trainer) track(step int, m rundir.Metrics) error {
	if t.group().Rank() > 0 {
		return nil
	}
	for _, k := range t.trackers {
		if err := k.Track(step, m); err != nil {
			return fmt.Errorf("tracking step %d: %w", step, err)
		}
	}
	return nil
}

// WithZeros takes zeros in the configuration as meant, as the command line does: see config.Config.CheckGiven.
func WithZeros() Option {
	return func(t *Trainer) { t.zeros = true }
}

// WithFolder writes to a run directory that the caller has opened already, and closes after the run, instead of opening
// the one that Schedule.Out names.
func WithFolder(f *rundir.Folder) Option {
	return func(t *Trainer) { t.folder = f }
}

// lockFolder opens the run directory, so that no other process writes to it, unless the caller has.
func (t *Trainer) lockFolder() error {
	s := &t.Config.Schedule
	if t.folder != nil || s.Out == "" || t.group().Rank() > 0 {
		return nil
	}
	f, err := rundir.Open(s.Out, s.Resume != "")
	if err != nil {
		return err
	}
	t.folder = f
	t.closers = append(t.closers, f.Close)
	if f.Note != "" {
		t.Notes = append(t.Notes, f.Note)
	}
	return nil
}

// beginRun cuts the logs of the run directory back to the step that the run goes on from, opens them, and writes
// config.yaml.
func (t *Trainer) beginRun() (err error) {
	if t.folder == nil {
		return nil
	}
	if t.Out, err = t.folder.Begin(t.From); err != nil {
		return err
	}
	t.closers = append(t.closers, func() { t.Out.Close() })
	text := append([]byte("# zerosearch train, by a program that uses the library\n"), t.Config.YAML()...)
	if err := t.Out.Config(text); err != nil {
		return fmt.Errorf("writing the run's config.yaml: %w", err)
	}
	return nil
}

// check refuses a configuration that cannot work, and gives the one that is opened: where options take the place of the
// search engine, none is.
func (t *Trainer) check() (Config, error) {
	c := t.Config
	if t.searches != nil || t.environment != nil {
		c.Search.Mode, c.Search.SimDType = "none", "" // no key and no server is needed
	}
	check := c.Check
	if t.zeros {
		check = c.CheckGiven
	}
	err := check()
	if err == nil && t.environment != nil && c.Algo.InfoGain > 0 {
		err = errors.New("Algo.InfoGain measures what search results tell: it must be 0 with another environment")
	}
	if err == nil && t.environment != nil && c.Rollout.MaxTurns < 1 {
		err = errors.New("Rollout.MaxTurns must be at least 1: with 0 the environment never answers")
	}
	return c, err
}
