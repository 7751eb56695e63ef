package await

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCall(t *testing.T) {
	n, err := Call(t.Context(), func() (int, error) { return 3, nil })
	require.NoError(t, err)
	require.Equal(t, 3, n)
	fault := errors.New("x")
	_, err = Call(t.Context(), func() (int, error) { return 0, fault })
	require.ErrorIs(t, err, fault)
	require.PanicsWithValue(t, "why", func() { Call(t.Context(), func() (int, error) { panic("why") }) })

	ctx, cancel := context.WithCancel(t.Context())
	hold := make(chan struct{})
	defer close(hold)
	_, err = Call(ctx, func() (int, error) {
		cancel()
		<-hold // f never returns
		return 0, nil
	})
	require.ErrorIs(t, err, context.Canceled)
}
