package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// With dynamic sampling a step uses as many questions as it takes. A run that is resumed draws what one that never
// stopped draws, the updates can be replayed, and a step can be verified.
func TestDynamicSampling(t *testing.T) {
	args := func(out string, more ...string) []string {
		return trainArgs(t, out,
			append([]string{"--algo", "dapo", "--dynamic-sampling", "--max-gen-batches", "4", "--n",
				"2", "--kl-coef", "0"}, more...)...)
	}
	whole, broken := filepath.Join(t.TempDir(), "whole"), filepath.Join(t.TempDir(), "broken")
	mustRun(t, "", args(whole)...)
	for _, steps := range []string{"3", "4"} {
		require.NoError(t, os.RemoveAll(broken))
		mustRun(t, "", args(broken)...)
		for step := 5; fmt.Sprint(step) > steps; step-- {
			require.NoError(t, os.RemoveAll(filepath.Join(broken, "checkpoints", fmt.Sprintf("step-%d", step))))
		}
		mustRun(t, "", args(broken, "--resume", "auto")...)
		sameRun(t, whole, broken, "step-5")
	}
	replaced, drawn := 0, map[string]bool{}
	text, err := os.ReadFile(filepath.Join(whole, "episodes.jsonl"))
	require.NoError(t, err)
	asked := map[[3]int]string{} // by step, group and attempt
	for line := range strings.Lines(string(text)) {
		var e struct {
			Step, Group, Attempt int
			ID                   string `json:"question_id"`
		}
		require.NoError(t, json.Unmarshal([]byte(line), &e))
		asked[[3]int{e.Step, e.Group, e.Attempt}] = e.ID
		drawn[e.ID] = true
		if e.Attempt > 0 {
			replaced++
			require.NotEqual(t, e.ID, asked[[3]int{e.Step, e.Group, e.Attempt - 1}],
				"a new question, not the same one again")
		}
	}
	require.Positive(t, replaced)
	require.Len(t, drawn, 4)

	model, err := taughtModel()
	require.NoError(t, err)
	again := filepath.Join(t.TempDir(), "again")
	mustRun(t, "", "train", "--replay", filepath.Join(whole, "episodes.jsonl"), "--out", again, "--model", model,
		"--algo", "dapo", "--dynamic-sampling",
		"--n", "2", "--kl-coef", "0", "--lr", "1e-3", "--dtype", "f32", "--max-turns", "1", "--max-response-length",
		"8")
	a, err := os.ReadFile(filepath.Join(whole, "checkpoints/step-5/model.safetensors"))
	require.NoError(t, err)
	b, err := os.ReadFile(filepath.Join(again, "checkpoints/step-5/model.safetensors"))
	require.NoError(t, err)
	require.True(t, string(a) == string(b), "the replay of the updates gives the same weights")
}

// A server that serves another model, recorded episodes that have changed: going on with either is refused by name.
func TestOtherSearchesAreNamed(t *testing.T) {
	var name atomic.Value
	name.Store("simulator-1")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/models") {
			fmt.Fprintf(w, `{"data":[{"id":"%s"}]}`, name.Load())
			return
		}
		fmt.Fprint(w,
			`{"choices":[{"message":{"content":"Doc 1: a is Ax"}}],"usage":{"prompt_tokens":3,"completion_tokens":4}}`)
	}))
	defer server.Close()
	out, recorded := filepath.Join(t.TempDir(), "run"), filepath.Join(t.TempDir(), "episodes.jsonl")
	remote := []string{"--search-mode", "remote", "--remote-url", server.URL}
	mustRun(t, "", trainArgs(t, out, append(remote, "--total-steps", "2", "--n", "8")...)...)
	mustRun(t, "", "verify", out)
	name.Store("simulator-2")
	code, _, stderr := zs("", trainArgs(t, out, append(remote, "--total-steps", "3", "--n", "8", "--resume",
		"auto")...)...)
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "--remote-model was simulator-1, is simulator-2")
	mustRun(t, "", "verify", out)

	require.NoError(t, os.Rename(filepath.Join(out, "episodes.jsonl"), recorded))
	replayed := filepath.Join(t.TempDir(), "run")
	replay := []string{"--search-mode", "replay", "--search-episodes", recorded}
	mustRun(t, "", trainArgs(t, replayed, append(replay, "--total-steps", "1")...)...)
	flipped(t, recorded, `"documents":\["(.)`)
	code, _, stderr = zs("", trainArgs(t, replayed, append(replay, "--total-steps", "2", "--resume", "auto")...)...)
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "the content of --search-episodes has changed")
}
