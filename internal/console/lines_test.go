package console

import (
	"bufio"
	"context"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Lines come in order; the end stays the end; a cancelled wait ends although nothing is typed.
func TestLines(t *testing.T) {
	l := Read(t.Context(), strings.NewReader("a\n\nb"), 10)
	for _, want := range []string{"a", "", "b"} {
		text, more, err := l.Next(t.Context())
		require.NoError(t, err)
		require.True(t, more)
		require.Equal(t, want, text)
	}
	for range 2 {
		_, more, err := l.Next(t.Context())
		require.NoError(t, err)
		require.False(t, more)
	}
	_, _, err := Read(t.Context(), strings.NewReader("longer than ten"), 10).Next(t.Context())
	require.ErrorIs(t, err, bufio.ErrTooLong)

	typed, keyboard := io.Pipe()
	defer keyboard.Close()
	ctx, cancel := context.WithCancel(t.Context())
	l = Read(ctx, typed, 10)
	cancel()
	_, more, err := l.Next(ctx)
	require.ErrorIs(t, err, context.Canceled)
	require.False(t, more)
}
