package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/internal/goldens"
)

// An evaluation that is interrupted or killed goes on where it was: what is done is not done again, and the result is
// that of one that never stopped.
func TestEvaluationGoesOn(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there are no interrupts to send on windows")
	}
	model, err := taughtModel()
	require.NoError(t, err)
	dir := t.TempDir()
	const many = 1500 // so many that the signals come before the end
	var rows strings.Builder
	for i := range many {
		q := string(rune('a' + i%4))
		fmt.Fprintf(&rows, `{"id":"q%d","question":"what is %s?","golden_answers":["%s"],"prompt":"Q %s\n"}`+"\n", i, q,
			answerTo(q), q)
	}
	questions := filepath.Join(dir, "q.jsonl")
	require.NoError(t, os.WriteFile(questions, []byte(rows.String()), 0o644))
	args := func(out string) []string {
		return []string{"eval", "--model", model, "--data", questions, "--search-mode", "none", "--max-turns", "2",
			"--max-response-length", "12", "--dtype", "f32",
			"--no-greedy", "--concurrency", "2", "--bootstrap", "20", "--out", out}
	}
	whole, broken := filepath.Join(dir, "whole"), filepath.Join(dir, "broken")
	mustRun(t, "", args(whole)...)

	partial := filepath.Join(broken, "episodes.jsonl.partial")
	kept := func() int {
		text, _ := os.ReadFile(partial)
		return bytes.Count(text, []byte("\n"))
	}
	// stopped runs until 20 more episodes are kept and sends the signal; false if the evaluation ended before, as it
	// may on a busy machine.
	stopped := func(signal syscall.Signal) bool {
		before := kept()
		c := self(".", args(broken)...)
		var stderr strings.Builder
		c.Stderr = &stderr
		require.NoError(t, c.Start())
		ended := func() bool { return exists(filepath.Join(broken, "eval.json")) }
		for deadline := time.Now().Add(time.Minute); kept() < before+20 && !ended() && time.Now().Before(deadline); {
			time.Sleep(100 * time.Microsecond)
		}
		require.NoError(t, c.Process.Signal(signal))
		if err := c.Wait(); err == nil || !exists(partial) || kept() == many {
			return false
		}
		require.GreaterOrEqual(t, kept(), before+20, stderr.String())
		require.Less(t, kept(), many)
		if signal == syscall.SIGINT {
			require.Equal(t, 130, c.ProcessState.ExitCode(), stderr.String())
			require.Contains(t, stderr.String(), fmt.Sprintf("interrupted: %d of %d episodes are done and kept", kept(),
				many))
			require.Contains(t, stderr.String(), "zerosearch eval --config "+filepath.Join(broken, "config.yaml"))
		}
		return true
	}
	tries := 0
	for !stopped(syscall.SIGINT) || !stopped(syscall.SIGKILL) {
		tries++
		require.Less(t, tries, 10, "the evaluation always ends before it is signalled")
		require.NoError(t, os.RemoveAll(broken))
	}
	mustRun(t, "", "eval", "--config", filepath.Join(broken, "config.yaml"))
	for _, name := range []string{"episodes.jsonl", "results.jsonl", "table.md"} {
		a, err := os.ReadFile(filepath.Join(whole, name))
		require.NoError(t, err)
		b, err := os.ReadFile(filepath.Join(broken, name))
		require.NoError(t, err)
		require.True(t, bytes.Equal(a, b), name)
	}
	require.NoFileExists(t, partial)
}

// The closed suite runs its three methods on its held-out questions, with nothing but its folder, and goes on where it
// was interrupted with the same methods.
func TestEvaluationOfTheClosedSuite(t *testing.T) {
	folder := filepath.Dir(filepath.Dir(goldens.Data(t, "contexts/corpus.jsonl.gz")))
	model, err := taughtModel()
	require.NoError(t, err)
	out := filepath.Join(t.TempDir(), "e")
	table := mustRun(t, "", "eval", "--suite", "closed", "--suite-data", folder, "--per-source", "2", "--model", model,
		"--dtype", "f32", "--max-turns", "1", "--max-response-length", "4", "--max-context", "16384",
		"--max-start-length", "8192", "--bootstrap", "10", "--out", out)
	require.Regexp(t,
		`(?m)^ +Method +Data +n +EM +F1 +Containment +Recall@5 +Searches +Sampled tokens +Context tokens$`,
		table)
	require.Regexp(t, `(?m)^ +RAG \(one retrieval\) +NQ +2 .* (0|50|100)\.0 +1\.00 +4 +\d{4}$`, table)
	require.Regexp(t, `(?m)^ +Search agent +squad +2 `, table)
	again := mustRun(t, "", "eval", "--config", filepath.Join(out, "config.yaml"))
	require.Equal(t, table, again)
}
