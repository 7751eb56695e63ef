package rl

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/kernels/ref"
)

func TestAwait(t *testing.T) {
	n, err := Await(t.Context(), func() (int, error) { return 3, nil })
	require.NoError(t, err)
	require.Equal(t, 3, n)
	fault := errors.New("x")
	_, err = Await(t.Context(), func() (int, error) { return 0, fault })
	require.ErrorIs(t, err, fault)
	require.PanicsWithValue(t, "why", func() { Await(t.Context(), func() (int, error) { panic("why") }) })

	ctx, cancel := context.WithCancel(t.Context())
	hold := make(chan struct{})
	defer close(hold)
	_, err = Await(ctx, func() (int, error) {
		cancel()
		<-hold // it never ends
		return 0, nil
	})
	require.ErrorIs(t, err, context.Canceled)
}

// What opens a run ends with the context, whatever it is doing: reading questions, loading weights, restoring an
// optimizer.
func TestOpeningEnds(t *testing.T) {
	g := readE2E(t)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	c := g.config(t)
	c.Search.Mode = "none"
	_, err := New(gone, ref.New(), c)
	require.ErrorIs(t, err, context.Canceled)
	_, err = NewReplay(gone, ref.New(), c, g.episodes(t), ReplayPlan{MiniBatches: g.Minis})
	require.ErrorIs(t, err, context.Canceled)
	_, err = Open(gone, ref.New(), OpenOptions{Model: c.Policy.Model})
	require.ErrorIs(t, err, context.Canceled)
}
