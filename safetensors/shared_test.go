package safetensors

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// A file whose tensors others write in parts is that of a Writer alone, and is there when all are.
func TestShared(t *testing.T) {
	specs := []Spec{{"a", F32, []int{3, 2}}, {"b", BF16, []int{5}}}
	a, b := []float32{1, 2, 3, 4, 5, 6}, []float32{-1, -2, -3, -4, -5}
	dir := t.TempDir()
	alone := filepath.Join(dir, "alone")
	w, err := Create(alone, specs, nil)
	require.NoError(t, err)
	require.NoError(t, w.WriteFloat32("a", a))
	require.NoError(t, w.WriteFloat32("b", b))
	require.NoError(t, w.Close())
	want, err := os.ReadFile(alone)
	require.NoError(t, err)

	path := filepath.Join(dir, "shared")
	w, err = Create(path, specs, nil)
	require.NoError(t, err)
	s, err := w.Share()
	require.NoError(t, err)
	for _, from := range []int{0, 2} {
		p, err := s.Open()
		require.NoError(t, err)
		require.NoError(t, p.WriteFloat32("a", from, a[from:min(from+2, 6)]))
		require.NoError(t, p.WriteFloat32("b", from, b[from:min(from+3, 5)]))
		require.ErrorContains(t, p.WriteFloat32("a", 5, a[:2]), `tensor "a": elements [5, 7) are not in it`)
		require.ErrorContains(t, p.WriteFloat32("c", 0, a), `tensor "c": elements [0, 6) are not in it`)
		require.NoError(t, p.WriteFloat32("a", 4, a[4:]))
		require.NoError(t, p.Close())
		require.NoFileExists(t, path)
	}
	require.NoError(t, w.Close())
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, want, got)
	_, err = s.Open() // it has another name by now
	require.ErrorIs(t, err, ErrNotShared)

	w, err = Create(path, specs, nil)
	require.NoError(t, err)
	s, err = w.Share()
	require.NoError(t, err)
	s.Size++
	_, err = s.Open()
	require.ErrorIs(t, err, ErrNotShared)
	w.Abort()
	got, err = os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, want, got)
}
