package rl

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/kernels/ref"
	"github.com/zerosearch-go/zerosearch/rl/internal/e2e"
	"github.com/zerosearch-go/zerosearch/rl/roles"
)

// What opens a run ends with the context, whatever it is doing: reading questions, loading weights, restoring an
// optimizer.
func TestOpeningEnds(t *testing.T) {
	g := e2e.Read(t)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	c := g.Settings(t)
	c.Search.Mode = "none"
	_, err := New(gone, ref.New(), c)
	require.ErrorIs(t, err, context.Canceled)
	_, err = NewReplay(gone, ref.New(), c, g.Episodes(t), ReplayPlan{MiniBatches: g.Minis})
	require.ErrorIs(t, err, context.Canceled)
	_, err = roles.Open(gone, ref.New(), roles.OpenOptions{Model: c.Policy.Model})
	require.ErrorIs(t, err, context.Canceled)
}
