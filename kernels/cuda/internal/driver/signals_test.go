//go:build !nogpu && linux

package driver_test

import (
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/kernels/cuda/internal/fake"
)

// TestSignals: handlers that the driver installs when it is loaded and when a GPU is opened are gone afterwards, and
// Ctrl-C reaches the program.
func TestSignals(t *testing.T) {
	c := make(chan os.Signal, 1)
	signal.Notify(c, os.Interrupt)
	defer signal.Stop(c)
	m := fake.New(fake.A100())
	m.Handlers = map[string]syscall.Signal{"Init": syscall.SIGINT, "DevicePrimaryCtxRetain": syscall.SIGTERM}
	before := [2]uintptr{fake.Handler(syscall.SIGINT), fake.Handler(syscall.SIGTERM)}
	g := opened(t, m)
	defer g.Close()
	require.Equal(t, 2, m.Installed)
	require.Equal(t, before, [2]uintptr{fake.Handler(syscall.SIGINT), fake.Handler(syscall.SIGTERM)})
	require.NoError(t, syscall.Kill(syscall.Getpid(), syscall.SIGINT))
	select {
	case <-c:
	case <-time.After(10 * time.Second):
		t.Fatal("the program was not told of SIGINT")
	}
}
