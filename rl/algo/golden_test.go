package algo_test

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/zerosearch-go/zerosearch/internal/goldens"
	"github.com/zerosearch-go/zerosearch/rl/algo"
)

// both runs a test on the committed part of the reference values and on the whole set.
func both(t *testing.T, f func(t *testing.T, dir string)) {
	t.Run("part", func(t *testing.T) { f(t, "testdata") })
	t.Run("whole", func(t *testing.T) { f(t, goldens.Path(t, "rl")) })
}

func readJSON[T any](t *testing.T, dir, name string) (v T) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(dir, name))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(raw, &v), name)
	return v
}

func readLines[T any](t *testing.T, dir, name string) (out []T) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(dir, name))
	require.NoError(t, err)
	for _, line := range bytes.Split(bytes.TrimSpace(raw), []byte("\n")) {
		var v T
		require.NoError(t, json.Unmarshal(line, &v), name)
		out = append(out, v)
	}
	require.NotEmpty(t, out, name)
	return out
}

// near compares with a relative tolerance of 1e-7 and a floor for values that are zero but for rounding.
func near(t *testing.T, want, got float64, msg ...any) {
	t.Helper()
	if math.Abs(want-got) > 1e-7*math.Abs(want)+1e-10 || math.IsNaN(got) {
		require.Fail(t, "differs", "want %v got %v %v", want, got, msg)
	}
}

// nearAll compares where mask is 1 (everywhere when it is nil), and demands exact zeros elsewhere when zeros is set.
func nearAll(t *testing.T, want, got [][]float64, mask [][]float64, zeros bool, msg ...any) {
	t.Helper()
	require.Len(t, got, len(want), msg...)
	for i := range want {
		require.Len(t, got[i], len(want[i]), msg...)
		for j := range want[i] {
			if mask == nil || mask[i][j] != 0 {
				near(t, want[i][j], got[i][j], append(msg, i, j)...)
			} else if zeros {
				require.Zero(t, got[i][j], msg...)
			}
		}
	}
}

func bools(mask [][]float64) [][]bool {
	out := make([][]bool, len(mask))
	for i := range mask {
		out[i] = make([]bool, len(mask[i]))
		for t, m := range mask[i] {
			out[i][t] = m != 0
		}
	}
	return out
}

func like(x [][]float64) [][]float64 {
	out := make([][]float64, len(x))
	for i := range x {
		out[i] = make([]float64, len(x[i]))
		for t := range out[i] {
			out[i][t] = math.NaN() // whoever fails to overwrite is seen
		}
	}
	return out
}

func count(mask [][]bool) (c algo.Counts) {
	for _, m := range mask {
		c.Add(m)
	}
	return c
}
