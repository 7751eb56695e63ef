package config

import (
	"errors"
	"io/fs"
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"
)

// A program that sets a model and nothing else has a run that can begin.
func TestDefaults(t *testing.T) {
	c := Defaults()
	require.Equal(t, 1e-6, c.Optim.LR)
	require.Equal(t, []float64{0.9, 0.999}, c.Optim.Betas)
	require.Equal(t, 5, c.Rollout.MaxTurns)
	c.Policy.Model = "m"
	require.NoError(t, c.Check())
}

// Values of 0 that make no sense are refused by the name of the field: what a program forgot to set does not begin.
func TestZeroValuesAreRefused(t *testing.T) {
	for field, zero := range map[string]func(c *Config){
		"Policy.Model":            func(c *Config) { c.Policy.Model = "" },
		"Policy.DType":            func(c *Config) { c.Policy.DType = "" },
		"Search.Mode":             func(c *Config) { c.Search.Mode = "" },
		"Search.TopK":             func(c *Config) { c.Search.TopK = 0 },
		"Rollout.BatchSize":       func(c *Config) { c.Rollout.BatchSize = 0 },
		"Rollout.N":               func(c *Config) { c.Rollout.N = 0 },
		"Rollout.MaxTurns":        func(c *Config) { c.Rollout.MaxTurns = 0 },
		"Rollout.MaxResponse":     func(c *Config) { c.Rollout.MaxResponse = 0 },
		"Rollout.MaxContext":      func(c *Config) { c.Rollout.MaxContext = 0 },
		"Rollout.MaxStart":        func(c *Config) { c.Rollout.MaxStart = 0 },
		"Rollout.Temperature":     func(c *Config) { c.Rollout.Temperature = 0 },
		"Rollout.TopP":            func(c *Config) { c.Rollout.TopP = 0 },
		"Algo.Algo":               func(c *Config) { c.Algo.Algo = "" },
		"Algo.Reward":             func(c *Config) { c.Algo.Reward = "" },
		"Critic.LR":               func(c *Config) { c.Algo.Algo, c.Critic.LR = "ppo", 0 },
		"Optim.LR":                func(c *Config) { c.Optim.LR = 0 },
		"Optim.Betas":             func(c *Config) { c.Optim.Betas = nil },
		"Optim.Eps":               func(c *Config) { c.Optim.Eps = 0 },
		"Optim.LRSchedule":        func(c *Config) { c.Optim.LRSchedule = "" },
		"Optim.MicroBatchTokens":  func(c *Config) { c.Optim.MicroBatchTokens = 0 },
		"Schedule.TotalSteps":     func(c *Config) { c.Schedule.TotalSteps = 0 },
		"Search.StartThreshold":   func(c *Config) { c.Search.StartThreshold = -1 },
		"Algo.DropZeroVariance":   func(c *Config) { c.Algo.DropZeroVariance, c.Algo.DynamicSampling = true, true },
		"Policy.Reference frozen": func(c *Config) { c.Policy.Reference, c.Algo.KLCoef = "frozen", 0 },
	} {
		c := Defaults()
		c.Policy.Model = "m"
		zero(&c)
		err := c.Check()
		require.ErrorContains(t, err, field)
		require.NotContains(t, err.Error(), "--", field)
	}
	c := Defaults()
	c.Policy.Model, c.Search.Mode, c.Rollout.MaxTurns = "m", "none", 0
	require.NoError(t, c.Check(), "without a search engine no turn has to search")
	c.Search.Mode, c.Optim.LR = "simulate_prompt", 0
	require.NoError(t, c.CheckGiven(), "a user who gives zeros means them")
	c.Optim.LR = -1
	require.ErrorContains(t, c.CheckGiven(), "Optim.LR must not be negative")
}

// Texts name options as the reader knows them, and there and back nothing is lost.
func TestNames(t *testing.T) {
	text := "raise --lr, or --resume auto; --docs and --critic-* and a--lr stay"
	fields := "raise Optim.LR, or Schedule.Resume auto; --docs and --critic-* and a--lr stay"
	require.Equal(t, fields, InFields(text))
	require.Equal(t, text, InFlags(fields))
	err := Error(&fs.PathError{Op: "open", Path: "--data", Err: errors.New("x")})
	require.EqualError(t, err, "open Data.Data: x")
	require.ErrorAs(t, err, new(*fs.PathError))
	require.NoError(t, Error(nil))
}

// Every field of every group has a flag and every flag one field.
func TestEveryFieldHasAFlag(t *testing.T) {
	n := 0
	all := reflect.TypeFor[Config]()
	for i := range all.NumField() {
		for k := range all.Field(i).Type.NumField() {
			if f := all.Field(i).Type.Field(k); f.Tag.Get("kong") != "-" {
				require.NotEmpty(t, f.Tag.Get("name"), f.Name)
				n++
			}
		}
	}
	require.Len(t, runNames.fieldOf, n, "no flag has two fields")
}
