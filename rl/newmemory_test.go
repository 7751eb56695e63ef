package rl

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/engine"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/ref"
	"github.com/zerosearch-go/zerosearch/rl/internal/e2e"
)

// What does not fit is refused before a weight is read, with the flags that would help.
func TestNewRefusesWhatDoesNotFit(t *testing.T) {
	g := e2e.Read(t)
	c := g.Settings(t)
	c.Policy.RefModel, c.Search.Mode, c.Optim.MicroBatchTokens, c.Rollout.BatchSize = "", "none", 1<<16, 1<<10
	weights := filepath.Join(c.Policy.Model, "model.safetensors")
	require.NoError(t, os.Truncate(weights, 10)) // nobody may find out
	machineMemory = func() *engine.Machine { return &engine.Machine{Total: 1 << 40, Available: 160 << 20} }
	defer func() { machineMemory = engine.MachineMemory }()
	_, err := New(t.Context(), ref.New(), c)
	require.ErrorContains(t, err, "planning the memory of "+c.Policy.Model+": it takes ")
	require.ErrorContains(t, err, "there are 160.0 MiB")
	require.ErrorContains(t, err, "it would fit with Optim.MicroBatchTokens ")
}

// own is a device with memory of its own.
type own struct {
	kernels.Device
	available int64
}

func (own) Name() string                    { return "own" }
func (o own) Memory() (int64, int64, error) { return 1 << 40, o.available, nil }

// New asks a device for the memory that it has.
func TestNewRefusesWhatDoesNotFitOnTheDevice(t *testing.T) {
	g := e2e.Read(t)
	c := g.Settings(t)
	c.Policy.RefModel, c.Search.Mode = "", "none"
	require.NoError(t, os.Truncate(filepath.Join(c.Policy.Model, "model.safetensors"), 10)) // nobody may find out
	_, err := New(t.Context(), own{ref.New(), 1 << 10}, c)
	require.ErrorContains(t, err, "planning the memory of "+c.Policy.Model+": it takes ")
	require.ErrorContains(t, err, " of own's memory and there are ")
}
