package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/rl/health"
	"github.com/zerosearch-go/zerosearch/rl/rundir"
)

// searchEngine is a server for scripts: google (SerpAPI's answers) or wiki (Search-R1's), or a fault.
func searchEngine(kind string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		switch kind {
		case "google":
			if q := r.URL.Query(); q.Get("api_key") != "s3cret" {
				w.WriteHeader(401)
				fmt.Fprint(w, `{"error": "Invalid API key."}`)
			} else {
				fmt.Fprintf(w,
					`{"search_metadata": {"status": "Success"}, "organic_results": [{"position": 1, "title": "On %[1]s", "snippet": "%[1]s is %[2]sx"}, {"position": 2, "title": "Other"}]}`,
					q.Get("q"), strings.ToUpper(q.Get("q")))
			}
		case "wiki":
			var v struct{ Queries []string }
			json.NewDecoder(r.Body).Decode(&v)
			fmt.Fprintf(w,
				`{"result": [[{"document": {"id": "1", "contents": "\"%[1]s\"\n%[1]s is %[2]sx"}, "score": 0.9}]]}`,
				v.Queries[0], strings.ToUpper(v.Queries[0]))
		case "busy":
			w.WriteHeader(429)
			fmt.Fprint(w, `{"error": "Your account has run out of searches."}`)
		case "broken":
			w.WriteHeader(500)
		case "cut":
			fmt.Fprint(w, `{"result": [[{"docu`)
		}
	}
}

// startServer runs zerosearch serve in a process of its own and gives its address.
func startServer(t *testing.T, dir string, args []string) string {
	c := self(dir, args...)
	out, err := c.StdoutPipe()
	require.NoError(t, err)
	var stderr bytes.Buffer
	c.Stderr = &stderr
	require.NoError(t, c.Start())
	t.Cleanup(func() { c.Process.Kill(); c.Wait() })
	var v struct{ URL string }
	require.NoError(t, json.NewDecoder(out).Decode(&v), "%s", &stderr)
	go io.Copy(io.Discard, out)
	return v.URL
}

// mortal is an engine that dies with request number last, until it is revived.
type mortal struct {
	*httptest.Server
	left atomic.Int64
}

func newMortal(t *testing.T, kind string) *mortal {
	m := &mortal{}
	answer := searchEngine(kind)
	m.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if m.left.Add(-1) < 0 {
			w.WriteHeader(503)
			return
		}
		answer(w, r)
	}))
	t.Cleanup(m.Close)
	return m
}

// A run whose engine dies in the middle of a step ends with an error that names the host, saves the step before, and
// goes on to the bits of a run that was never disturbed, asking no query twice that was answered.
func TestEngineGone(t *testing.T) {
	wiki := newMortal(t, "wiki")
	wiki.left.Store(1 << 40)
	// One query at a time: another one under way would be given up, answered or not, when the engine is found dead.
	// the corpus in trainArgs is another file each time, and of no use here
	args := func(out string, more ...string) []string {
		return trainArgs(t, out, append([]string{"--search-mode", "wiki", "--wiki-url", wiki.URL, "--save-every", "100",
			"--search-tries", "2", "--concurrency", "1"}, more...)...)
	}
	whole := filepath.Join(t.TempDir(), "whole")
	mustRun(t, "", args(whole)...)
	asked := 1<<40 - wiki.left.Load()
	require.Greater(t, asked, int64(2), "the policy searches too little for this test")

	out := filepath.Join(t.TempDir(), "run")
	wiki.left.Store(asked - 1)
	code, _, stderr := zs("", args(out)...)
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "wiki at "+strings.TrimPrefix(wiki.URL,
		"http://")+": gave up after 2 tries: 503 Service Unavailable")
	require.Contains(t, stderr, "is saved")
	require.Contains(t, stderr, "--resume auto")
	checkpoints, err := os.ReadDir(filepath.Join(out, "checkpoints"))
	require.NoError(t, err)
	require.Len(t, checkpoints, 1, "the step before the one that failed")

	wiki.left.Store(1)
	mustRun(t, "", args(out, "--resume", "auto")...)
	require.Zero(t, wiki.left.Load(), "all answers but one were kept")
	sameRun(t, whole, out, "step-5")
	require.Equal(t, costOf(health.ReadSteps(whole)).Queries, costOf(health.ReadSteps(out)).Queries)
}

// An interrupt while a server does not answer at all does not wait for all tries: the step under way is given up, and
// the one before it saved.
func TestInterruptedWhileSearching(t *testing.T) {
	needSignals(t)
	wiki := newMortal(t, "wiki")
	var silent atomic.Bool
	asked, answer := make(chan struct{}, 1<<10), wiki.Config.Handler
	wiki.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if silent.Load() || wiki.left.Load() <= 0 {
			io.Copy(io.Discard, r.Body) // or nobody is told that the client has left
			asked <- struct{}{}
			<-r.Context().Done()
			return
		}
		answer.ServeHTTP(w, r)
	})
	for _, first := range []bool{true, false} {
		out := filepath.Join(t.TempDir(), "run")
		silent.Store(first)
		wiki.left.Store(2)
		for len(asked) > 0 {
			<-asked
		}
		p := begin(t, trainArgs(t, out, "--search-mode", "wiki", "--wiki-url", wiki.URL, "--save-every", "100",
			"--concurrency", "1", "--search-timeout", "100ms", "--search-tries", "1000")...)
		<-asked
		done := stepsOf(out)
		require.NoError(t, p.Process.Signal(os.Interrupt))
		p.Wait()
		require.Equal(t, 130, p.ProcessState.ExitCode(), p.stderr.String())
		if !first {
			require.Contains(t, p.stderr.String(), fmt.Sprintf("interrupted after step %d, which is saved", done))
			require.Equal(t, []int{done}, rundir.Steps(out))
		} else {
			require.Contains(t, p.stderr.String(), "interrupted before the first step was done. To begin again:")
		}
	}
}

// The key of an API is nowhere but in requests to that API.
func TestKeyStaysSecret(t *testing.T) {
	google := newMortal(t, "google")
	google.left.Store(2)
	t.Setenv("SERPAPI_API_KEY", "s3cret")
	out := filepath.Join(t.TempDir(), "run")
	code, stdout, stderr := zs("", trainArgs(t, out, "--search-mode", "google", "--google-url", google.URL,
		"--search-tries", "1")...)
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "google at")
	require.NotContains(t, stdout+stderr, "s3cret")
	n := 0
	require.NoError(t, filepath.WalkDir(out, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		n++
		text, err := os.ReadFile(path)
		require.NotContains(t, string(text), "s3cret", path)
		return err
	}))
	require.Greater(t, n, 4)
}

// The adaptive curriculum follows the policy, and its state is part of the checkpoint.
func TestAdaptiveCurriculumResumed(t *testing.T) {
	args := func(out string, more ...string) []string {
		return trainArgs(t, out,
			append([]string{"--search-mode", "simulate_sft,bm25", "--simulation-max-tokens", "4", "--curriculum",
				"adaptive",
				"--start-threshold", "0.1", "--end-threshold", "0.9"}, more...)...)
	}
	whole, broken := filepath.Join(t.TempDir(), "whole"), filepath.Join(t.TempDir(), "broken")
	mustRun(t, "", args(whole)...)
	taus, engines := map[float64]bool{}, map[string]bool{}
	text, err := os.ReadFile(filepath.Join(whole, "episodes.jsonl"))
	require.NoError(t, err)
	for line := range strings.Lines(string(text)) {
		var e struct {
			Turns []struct {
				Engine, Quality string
				Tau             float64
			}
		}
		require.NoError(t, json.Unmarshal([]byte(line), &e))
		for _, turn := range e.Turns {
			if turn.Engine != "" {
				engines[turn.Engine] = true
			}
			if turn.Quality != "" {
				taus[turn.Tau] = true
				require.True(t, 0.1 <= turn.Tau && turn.Tau < 0.9)
			}
		}
	}
	require.Greater(t, len(taus), 1, "tau moves")
	require.Equal(t, map[string]bool{"simulate_sft": true, "bm25": true}, engines)

	mustRun(t, "", args(broken, "--threads", "1", "--concurrency", "1")...)
	sameRun(t, whole, broken, "step-5")
	for _, step := range []string{"3", "4", "5"} {
		require.NoError(t, os.RemoveAll(filepath.Join(broken, "checkpoints", "step-"+step)))
	}
	mustRun(t, "", args(broken, "--resume", "auto")...)
	sameRun(t, whole, broken, "step-5")
}

// Recorded documents give the run again, without the engine.
func TestReplayedSearches(t *testing.T) {
	whole, again := filepath.Join(t.TempDir(), "whole"), filepath.Join(t.TempDir(), "again")
	mustRun(t, "", trainArgs(t, whole)...)
	mustRun(t, "", trainArgs(t, again, "--search-mode", "replay", "--search-episodes",
		filepath.Join(whole, "episodes.jsonl"))...)
	for _, name := range []string{"model.safetensors", "optimizer.safetensors"} {
		x, err := os.ReadFile(filepath.Join(whole, "checkpoints/step-5", name))
		require.NoError(t, err)
		y, err := os.ReadFile(filepath.Join(again, "checkpoints/step-5", name))
		require.NoError(t, err)
		require.True(t, bytes.Equal(x, y), name)
	}
}
