package safetensors

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// fullDisk mounts a file system of 64 KiB, or skips where that is not allowed.
func fullDisk(t *testing.T) string {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("no small file system to fill: %v; TestWriteFaults covers the same errors", err)
	}
	t.Cleanup(func() { require.NoError(t, unix.Unmount(dir, 0)) })
	return dir
}

func TestDiskFull(t *testing.T) {
	dir := fullDisk(t)
	path := filepath.Join(dir, "a.safetensors")
	_, err := Create(path, []Spec{{"x", U8, []int{1 << 20}}}, nil)
	requireOneLine(t, err, "safetensors: write "+path+": ")
	require.ErrorIs(t, err, unix.ENOSPC)
	require.ErrorContains(t, err, "the file needs 1048656 bytes: free space or write elsewhere")
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left)
	w, err := Create(path, []Spec{{"x", U8, []int{1 << 10}}}, nil)
	require.NoError(t, err)
	require.NoError(t, w.Write("x", make([]byte, 1<<10)))
	require.NoError(t, w.Close())
}
