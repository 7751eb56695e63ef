package main

import (
	"encoding/json"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A run ends with the path of its report and the commands that ask and measure its policy, which work as they stand:
// as text, also away from a terminal, or with --json.
func TestCommandsAfterARun(t *testing.T) {
	out := filepath.Join(t.TempDir(), "run of a test")
	args := trainArgs(t, out, "--total-steps", "1", "--json")
	var result struct {
		Report string
		Next   []string
	}
	require.NoError(t, json.Unmarshal([]byte(mustRun(t, "", args...)), &result))
	require.FileExists(t, result.Report)
	require.Len(t, result.Next, 2)
	for i, want := range []string{`"turns":`, `"sources":`} {
		var words []string
		for _, w := range regexp.MustCompile(`'[^']*'|\S+`).FindAllString(result.Next[i], -1) {
			words = append(words, strings.Trim(w, "'"))
		}
		require.Equal(t, "zerosearch", words[0])
		require.Contains(t, mustRun(t, "", append(words[1:], "--json")...), want)
	}
	require.FileExists(t, filepath.Join(out, "eval", "eval.json"))
	code, _, stderr := zs("", append(args[:len(args)-1], "--resume", "auto")...)
	require.Zero(t, code, stderr)
	require.Contains(t, stderr, "curves and episodes: "+result.Report+
		"\nto try it:\n  "+result.Next[0]+"\n  "+result.Next[1]+"\n")
}
