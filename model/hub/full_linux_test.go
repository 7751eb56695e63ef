package hub

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/zerosearch-go/zerosearch/model/hub/hubtest"
)

// A full disk is said so, and what has come goes on when there is room.
func TestPullDiskFull(t *testing.T) {
	r := newRig(t)
	if err := unix.Mount("tmpfs", r.s.Cache, "tmpfs", 0, "size=256k"); err != nil {
		t.Skipf("no small file system to fill: %v", err)
	}
	t.Cleanup(func() { require.NoError(t, unix.Unmount(r.s.Cache, 0)) })
	file := hubtest.File{Content: random(1, 300_000), Large: true}
	r.Add("models/org/tiny-model", "main", map[string]hubtest.File{"model.safetensors": file})
	_, err := r.pull(PullOptions{})
	require.ErrorIs(t, err, unix.ENOSPC)
	require.ErrorContains(t, err, "more bytes of model.safetensors are to come: make room, or set HF_HUB_CACHE")
	left, err := os.Stat(filepath.Join(r.s.Cache, "models--org--tiny-model", "blobs", file.Digest()+".incomplete"))
	require.NoError(t, err)
	require.Positive(t, left.Size())
	require.NoError(t, unix.Mount("", r.s.Cache, "", unix.MS_REMOUNT, "size=1m"))
	got, err := r.pull(PullOptions{})
	require.NoError(t, err)
	require.Equal(t, 300_000-left.Size(), got.Fetched)
	requireFile(t, got.Dir, "model.safetensors", file)
}
