package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/rl/data"
)

// simulateArgs are those of simulate with the demo's simulator.
func simulateArgs(t *testing.T, more ...string) []string {
	model, err := filepath.Abs("../../demo/models/simulator")
	require.NoError(t, err)
	return append([]string{"simulate", "--model", model, "--search-mode", "simulate_sft", "--topk", "3",
		"--simulation-max-tokens", "40", "--dtype", "f32", "--threads", "1"}, more...)
}

// simulateRequests are n different requests; every fifth has occurred before.
func simulateRequests(n int) string {
	var b strings.Builder
	for i := range n {
		if i%5 == 4 {
			i--
		}
		fmt.Fprintf(&b,
			`{"query":"Velgosh born %d","question":"Where was Velgosh born?","golden_answers":["Brontory"],`+
				`"id":%d}`+"\n", i, i)
	}
	return b.String()
}

// shardText is the text of all shards.
func shardText(t *testing.T, dir string) string {
	files, err := filepath.Glob(filepath.Join(dir, "rows-*.jsonl"))
	require.NoError(t, err)
	var b bytes.Buffer
	for _, f := range files {
		text, err := os.ReadFile(f)
		require.NoError(t, err)
		b.Write(text)
	}
	return b.String()
}

// Ten processes are killed at random moments of their work; then two processes finish it together. The rows are those
// of one process that nobody disturbed, each once, and those that simulate gives line by line.
func TestSimulateKilled(t *testing.T) {
	dir := t.TempDir()
	const rows = 150
	require.NoError(t, os.WriteFile(filepath.Join(dir, "q.jsonl"), []byte(simulateRequests(rows)), 0o644))
	args := func(out string) []string {
		return simulateArgs(t, "--data", "q.jsonl", "--out", out, "--shard-rows", "20", "--concurrency", "4",
			"--end-threshold", "0.5", "--check-answers")
	}
	done, err := self(dir, args("whole")...).CombinedOutput()
	require.NoError(t, err, string(done))

	written := func() (n int64) {
		filepath.Walk(filepath.Join(dir, "killed"), func(path string, f os.FileInfo, err error) error {
			if err == nil && strings.HasSuffix(path, ".jsonl") {
				n += f.Size()
			}
			return nil
		})
		return n
	}
	draw := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 1))
	killed := 0
	for range 10 {
		c := self(dir, args("killed")...)
		before := written()
		require.NoError(t, c.Start())
		ended := make(chan error, 1)
		go func() { ended <- c.Wait() }()
		for written() == before && len(ended) == 0 {
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Duration(draw.IntN(30)) * time.Millisecond)
		c.Process.Kill()
		if <-ended != nil {
			killed++
		}
	}
	t.Logf("%d of 10 were killed at work", killed)
	require.GreaterOrEqual(t, killed, 3, "the work was done before it could be killed")
	var both []*exec.Cmd
	for range 2 {
		c := self(dir, args("killed")...)
		require.NoError(t, c.Start())
		both = append(both, c)
	}
	for _, c := range both {
		require.NoError(t, c.Wait())
	}
	require.NoDirExists(t, filepath.Join(dir, "killed", ".work"))
	whole := shardText(t, filepath.Join(dir, "whole"))
	require.True(t, whole == shardText(t, filepath.Join(dir, "killed")), "the rows differ")
	for _, name := range []string{"whole", "killed"} {
		text, err := os.ReadFile(filepath.Join(dir, name, "simulate.json"))
		require.NoError(t, err)
		var got struct {
			Items, Rows int
			Dropped     map[string]int
		}
		require.NoError(t, json.Unmarshal(text, &got))
		require.Equal(t, rows, got.Items)
		require.Equal(t, rows-got.Rows, got.Dropped["useful without an accepted answer"]+
			got.Dropped["noisy with an accepted answer"])
		require.Equal(t, strings.Count(whole, "\n"), got.Rows)
	}
}

// A row gets in a shard what it gets line by line, in JSON lines and in parquet; other columns are kept.
func TestSimulatedShards(t *testing.T) {
	args := simulateArgs(t)
	t.Chdir(t.TempDir())
	require.NoError(t, os.WriteFile("q.jsonl", []byte(simulateRequests(12)), 0o644))
	type row struct {
		Row       int
		ID        json.RawMessage
		Query     string
		Quality   string
		Documents []string
		Raw       string
	}
	var lines []row
	for line := range strings.Lines(mustRun(t, simulateRequests(12), append(args, "--noise-rate", "0.3")...)) {
		var r row
		require.NoError(t, json.Unmarshal([]byte(line), &r))
		lines = append(lines, r)
	}
	require.Len(t, lines, 12)
	for format, id := range map[string]string{"jsonl": "%d", "parquet": `"%d"`} {
		mustRun(t, "", append(args, "--noise-rate", "0.3", "--data", "q.jsonl", "--out", format,
			"--shard-rows", "5", "--shard-format", format)...)
		n := 0
		for shard := range 3 {
			for got, err := range data.Rows(fmt.Sprintf("%s/rows-%06d.%s", format, shard, format)) {
				require.NoError(t, err)
				text, err := json.Marshal(got.Columns)
				require.NoError(t, err)
				var r row
				require.NoError(t, json.Unmarshal(text, &r))
				want := lines[n]
				want.Row, want.ID = n+1, json.RawMessage(fmt.Sprintf(id, n-n%5/4))
				require.Equal(t, want, r)
				n++
			}
		}
		require.Equal(t, 12, n)
	}
}
