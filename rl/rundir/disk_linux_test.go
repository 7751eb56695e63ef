package rundir

import (
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// A full disk is an error that says so.
func TestFullDisk(t *testing.T) {
	full, err := openLog("/dev/full")
	require.NoError(t, err)
	dir := t.TempDir()
	r := begin(t, dir, 0, false)
	good := r.metrics
	r.metrics, r.episodes = full, full
	err = r.Metrics(1, Metrics{"x": 1})
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.ErrorContains(t, err, "writing metrics: ")
	require.ErrorIs(t, r.Episode([]byte("{}")), syscall.ENOSPC)
	r.metrics, r.events.log = good, full
	err = r.Metrics(1, Metrics{"x": 1})
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.ErrorContains(t, err, "writing events: ")
}

// A write that fails half-way, here at a limit on the size of files, leaves whole lines.
func TestHalfAWriteIsTakenBack(t *testing.T) {
	dir := t.TempDir()
	l, err := openLog(filepath.Join(dir, "x"))
	require.NoError(t, err)
	require.NoError(t, l.append([]byte("{\"step\":1}\n")))
	var old syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old))
	require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 15, Max: old.Max}))
	err = l.append([]byte("{\"step\":2}\n"))
	require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &old))
	require.ErrorIs(t, err, syscall.EFBIG)
	require.Equal(t, "{\"step\":1}\n", read(t, dir, "x"))
	l.f.Close()
}
