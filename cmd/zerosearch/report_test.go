package main

import (
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A port that is taken is found before anything is opened or made.
func TestPortInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	out := filepath.Join(t.TempDir(), "run")
	code, _, stderr := zs("", trainArgs(t, out, "--ui", l.Addr().String(), "--model", "nowhere")...)
	require.Equal(t, exitFailed, code)
	require.Equal(t, 1, strings.Count(stderr, "\n"), stderr)
	require.Regexp(t, `^error: --ui 127\.0\.0\.1:\d+: .*: choose another port, or 0 for any that is free`, stderr)
	require.NoDirExists(t, out)
}

// The page is there while the run goes on, follows it, and goes with it.
func TestLivePage(t *testing.T) {
	dir := t.TempDir()
	c := self(dir, trainArgs(t, filepath.Join(dir, "run"), "--ui", ":0", "--total-steps", "100000", "--save-every",
		"0")...)
	log, err := os.Create(filepath.Join(dir, "log"))
	require.NoError(t, err)
	defer log.Close()
	c.Stderr = log
	require.NoError(t, c.Start())
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	defer func() {
		c.Process.Kill()
		<-ended
	}()
	said := func() string {
		text, _ := os.ReadFile(log.Name())
		return string(text)
	}
	var page string
	if !assert.Eventually(t, func() bool {
		url := regexp.MustCompile(`live at (http://127\.0\.0\.1:\d+/)`).FindStringSubmatch(said())
		if url == nil {
			return false
		}
		a, err := http.Get(url[1])
		if err != nil {
			return false
		}
		defer a.Body.Close()
		text, err := io.ReadAll(a.Body)
		page = string(text)
		return err == nil && strings.Contains(page, "<b>Reward</b>") && strings.Contains(page, "Latest: step")
	}, time.Minute, 50*time.Millisecond) {
		t.Fatal(said())
	}
	require.Contains(t, page, "data-live=")
	require.Contains(t, page, "<b>search-mode</b> bm25")
	saved, err := os.ReadFile(filepath.Join(dir, "run", "config.yaml"))
	require.NoError(t, err)
	require.NotContains(t, string(saved), "ui:", "where a run is watched from is no part of it")
}

// Now and then an episode is shown, and no document has a say in what the terminal does.
func TestEpisodesAreShown(t *testing.T) {
	defer func(p time.Duration) { episodePeriod = p }(episodePeriod)
	episodePeriod = 0
	out := filepath.Join(t.TempDir(), "run")
	args := trainArgs(t, out, "--total-steps", "2")
	for i, a := range args {
		if a == "--corpus" {
			require.NoError(t, os.WriteFile(args[i+1], []byte(`{"contents":"a b c d is \u001b[2JAx"}`), 0o644))
		}
	}
	code, _, stderr := zs("", args...)
	require.Zero(t, code, stderr)
	require.Equal(t, 2, strings.Count(stderr, "an episode of step "), stderr)
	require.Contains(t, stderr, "reward ")
	require.Contains(t, stderr, ", wanted: ")
	require.NotContains(t, stderr, "\x1b")
}
