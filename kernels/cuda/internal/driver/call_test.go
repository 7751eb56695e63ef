//go:build !nogpu && linux

package driver

import (
	"testing"

	"github.com/ebitengine/purego"
	"github.com/stretchr/testify/require"
)

// labs is a C function that returns its first argument.
func labs(t testing.TB) uintptr {
	libc, err := purego.Dlopen("libc.so.6", purego.RTLD_NOW)
	require.NoError(t, err)
	f, err := purego.Dlsym(libc, "labs")
	require.NoError(t, err)
	return f
}

// TestLaunchAllocatesNothing: a launch that the driver accepts.
func TestLaunchAllocatesNothing(t *testing.T) {
	g := &GPU{t: &table{LaunchKernel: labs(t)}}
	require.Zero(t, testing.AllocsPerRun(100, func() { g.hot(g.t.LaunchKernel, 0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11) }))
}

// BenchmarkLaunch is what a launch costs on our side of the driver.
func BenchmarkLaunch(b *testing.B) {
	g := &GPU{t: &table{LaunchKernel: labs(b)}}
	for range b.N {
		g.hot(g.t.LaunchKernel, 0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11)
	}
}
