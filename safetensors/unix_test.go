//go:build unix

package safetensors

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// bigFile writes a file of one F32 tensor "x" with n elements, all 1.
func bigFile(t *testing.T, n int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "big.safetensors")
	w, err := Create(path, []Spec{{"x", F32, []int{n}}}, nil)
	require.NoError(t, err)
	require.NoError(t, w.Write("x", bytes.Repeat([]byte{0, 0, 0x80, 0x3f}, n)))
	require.NoError(t, w.Close())
	return path
}

// A file that is cut short under our feet must not take the program down with it.
func TestFileCutWhileOpen(t *testing.T) {
	path := bigFile(t, 1<<16)
	f, err := Open(path)
	require.NoError(t, err)
	defer f.Close()
	x := tensorOf(t, f, "x")
	got := make([]float32, 1<<16)
	require.NoError(t, x.Float32(got))
	require.Equal(t, float32(1), got[1<<16-1])
	require.NoError(t, os.Truncate(path, 100))
	const want = "cannot be read: the file was changed or its disk failed while it was in use"
	require.ErrorContains(t, x.Float32(got), want)
	require.ErrorContains(t, x.View(func(b []byte) error { got[0] = float32(b[len(b)-1]); return nil }), want)
}

func TestOpenPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	require.NoError(t, unix.Mkfifo(path, 0o666))
	_, err := Open(path) // must not wait for a writer
	require.ErrorContains(t, err, "not a regular file")
	_, err = Create(path, nil, nil)
	require.ErrorContains(t, err, "something that is not a file has this name")
}

// resident returns the pages of files that this process holds in memory, in bytes.
func resident(t *testing.T) int {
	status, err := os.ReadFile("/proc/self/status")
	require.NoError(t, err)
	sum := 0
	for _, field := range []string{"RssFile:", "RssShmem:"} { // the latter where the temporary folder is a tmpfs
		_, rest, ok := bytes.Cut(status, []byte(field))
		require.True(t, ok)
		kb, err := strconv.Atoi(string(bytes.Fields(rest)[0]))
		require.NoError(t, err)
		sum += kb << 10
	}
	return sum
}

func TestRelease(t *testing.T) {
	const n = 1 << 24 // 64 MiB
	f, err := Open(bigFile(t, n))
	require.NoError(t, err)
	defer f.Close()
	x := tensorOf(t, f, "x")
	got := make([]float32, n)
	if runtime.GOOS != "linux" {
		x.Release()
		require.NoError(t, x.Float32(got))
		return
	}
	require.NoError(t, x.Float32(got))
	before := resident(t)
	x.Release()
	require.Less(t, resident(t), before-n*4*9/10)
	require.NoError(t, x.Float32(got)) // and it is all still there
	require.Equal(t, float32(1), got[n-1])
}
