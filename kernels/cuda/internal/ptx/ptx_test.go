package ptx

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// The archive that is linked in holds the files of this folder: go generate writes it.
func TestArchiveHoldsTheFiles(t *testing.T) {
	names, err := filepath.Glob("*.ptx")
	require.NoError(t, err)
	require.Len(t, Modules(), len(names))
	for i, m := range Modules() {
		text, err := os.ReadFile(names[i])
		require.NoError(t, err)
		require.Equal(t, names[i], m.Name)
		require.True(t, string(text) == m.Text, "%s differs from the one in modules.zip: run go generate", m.Name)
		require.NotEmpty(t, m.Kernels, m.Name)
	}
}
