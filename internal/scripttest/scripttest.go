// Package scripttest runs tests that are written as scripts: text files with what is done and what must come out.
package scripttest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Divider stands between a script and its outcome.
const Divider = "----\n"

// Each runs a subtest for each file of a pattern; it is named after the file. path is absolute. No file is an error.
func Each(t *testing.T, pattern string, test func(t *testing.T, path, text string)) {
	files, err := filepath.Glob(pattern)
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), filepath.Ext(file)), func(t *testing.T) {
			path, err := filepath.Abs(file)
			require.NoError(t, err)
			text, err := os.ReadFile(path)
			require.NoError(t, err)
			test(t, path, string(text))
		})
	}
}

// Compare requires that got is the text of the file path, or, with update, writes it there.
func Compare(t *testing.T, path, text, got string, update bool) {
	t.Helper()
	if update {
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
		return
	}
	require.Equal(t, text, got, "run with -update and read the difference")
}

// Run plays each script of a pattern and compares the outcome with the text after Divider.
func Run(t *testing.T, pattern string, update bool, play func(t *testing.T, script string) (outcome string)) {
	Each(t, pattern, func(t *testing.T, path, text string) {
		script, _, _ := strings.Cut(text, Divider)
		Compare(t, path, text, script+Divider+play(t, script), update)
	})
}
