//go:build !nogpu && linux

package cuda

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/kernels/cuda/internal/fake"
	"github.com/zerosearch-go/zerosearch/kernels/cuda/internal/ptx"
)

// TestCompiled: every kernel of every module is told, with what the driver says of it.
func TestCompiled(t *testing.T) {
	m := fake.New(fake.A100())
	d, err := openOn(m, 0)
	require.NoError(t, err)
	all, err := d.Compiled()
	require.NoError(t, err)
	for i, want := range ptx.Modules() {
		require.Equal(t, want.Name, all[i].Name)
		require.Len(t, all[i].Kernels, len(want.Kernels))
		for k, kernel := range all[i].Kernels {
			require.Equal(t, want.Kernels[k], kernel.Name)
			require.Equal(t, 1024, kernel.MaxThreads)
			require.Equal(t, 80, kernel.Capability)
			require.Positive(t, kernel.Registers)
		}
	}
	m.Fail = func(function string, n int) int {
		if function == "FuncGetAttribute" {
			return fake.InvalidHandle
		}
		return 0
	}
	_, err = d.Compiled()
	require.ErrorContains(t, err, "cuda:0: kernel ")
	require.NoError(t, d.Close())
	require.NoError(t, m.Check())
}
