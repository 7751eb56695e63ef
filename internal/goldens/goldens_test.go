package goldens

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// outcome is a testing.TB that records whether it was skipped or failed.
type outcome struct {
	testing.TB
	skipped, failed string
}

func (o *outcome) Helper() {}

func (o *outcome) Skipf(format string, args ...any) { o.skipped = fmt.Sprintf(format, args...) }

func (o *outcome) Fatalf(format string, args ...any) { o.failed = fmt.Sprintf(format, args...) }

// A test without reference values is skipped with a reason, or fails if they are required.
func TestRequire(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("ZEROSEARCH_GOLDENS", dir)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "there.json"), nil, 0o644))
	for _, required := range []string{"", "1"} {
		t.Setenv(Require, required)
		var o outcome
		require.Equal(t, filepath.Join(dir, "there.json"), Path(&o, "there.json"))
		require.Equal(t, outcome{}, o)
		Path(&o, "absent.json")
		require.Equal(t, required == "", o.skipped != "", o.skipped)
		require.Equal(t, required != "", o.failed != "", o.failed)
		require.Contains(t, o.skipped+o.failed, "absent.json is not in "+dir)
	}
}

// A committed folder is preferred to the full set.
func TestLocal(t *testing.T) {
	dir, whole := t.TempDir(), t.TempDir()
	t.Setenv("ZEROSEARCH_GOLDENS", whole)
	for _, p := range []string{filepath.Join(dir, "a"), filepath.Join(whole, "a"), filepath.Join(whole, "b")} {
		require.NoError(t, os.Mkdir(p, 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(p, "golden.json"), nil, 0o644))
	}
	require.Equal(t, filepath.Join(dir, "a"), Local(t, dir, "a", "golden.json"))
	require.Equal(t, filepath.Join(whole, "b"), Local(t, dir, "b", "golden.json"))
}
