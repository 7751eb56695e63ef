package peers

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// Ours and theirs alternate, the first of a pair alternates too, and the ratio is the median of the pairs' ratios, not
// the ratio of medians.
func TestContestAlternates(t *testing.T) {
	var order string
	speed := map[byte][]float64{'A': {0, 10, 20, 60}, 'B': {0, 10, 10, 10}}
	side := func(name byte) func(context.Context) (float64, error) {
		n := 0
		return func(context.Context) (float64, error) {
			order += string(name)
			n++
			return speed[name][n-1], nil
		}
	}
	c := Contest{Name: "x", Peer: "p", Unit: "t/s", Ours: side('A'), Theirs: side('B')}
	row, err := c.Run(t.Context(), 3, func(string, ...any) {})
	require.NoError(t, err)
	require.Equal(t, "AB"+"ABBAAB", order)
	require.Equal(t, 2.0, row.Ratio)
	require.Equal(t, []float64{1, 6}, []float64{row.RatioMin, row.RatioMax})
	require.Equal(t, 20.0, row.Ours)
}

// If at least three pairs are undisturbed, only those are used; otherwise all are used and the row is marked.
func TestQuietPairsCount(t *testing.T) {
	var row Row
	row.sum([]pair{{1, 1, 0}, {9, 1, 0.9}, {2, 1, 0.05}, {3, 1, 0}})
	require.Equal(t, Row{Ours: 2, Theirs: 1, Ratio: 2, RatioMin: 1, RatioMax: 3, Pairs: 3, Foreign: 0.05}, row)
	row = Row{}
	row.sum([]pair{{1, 1, 0}, {9, 1, 0.9}, {2, 1, 0.05}})
	require.Equal(t, Row{Ours: 2, Theirs: 1, Ratio: 2, RatioMin: 1, RatioMax: 9, Pairs: 3, Foreign: 0.9}, row)
}

// The error of a known crash says how to avoid it.
func TestLlamaCrashes(t *testing.T) {
	_, _, err := runLlama(t.Context(), []string{"sh", "-c", "kill -SEGV $$"})
	require.ErrorContains(t, err, "running sh: signal: segmentation fault")
	require.ErrorContains(t, err, `build it with CXXFLAGS="-fno-dse -fno-tree-dse"`)
	_, _, err = runLlama(t.Context(), []string{"sh", "-c", "exit 3"})
	require.EqualError(t, err, "running sh: exit status 3")
}

// ik_llama.cpp's llama-batched-bench logs its table to stderr.
func TestBatchedBenchOfTheFork(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "bin"), 0o755))
	row := "|     1 |     64 |    8 |    520 |    0.090 |    89.03 |    2.780 |   184.17 |    2.870 |   181.18 |"
	require.NoError(t, os.WriteFile(filepath.Join(dir, "bin", "llama-batched-bench"),
		[]byte("#!/bin/sh\necho '"+row+"' >&2\n"), 0o755))
	rate, err := Llama{Dir: dir, Threads: 1, Fork: true}.Batched(t.Context(), 8, 64)
	require.NoError(t, err)
	require.Equal(t, 184.17, rate)
}

func TestContestFails(t *testing.T) {
	c := Contest{Name: "x", Peer: "p", Ours: func(context.Context) (float64, error) { return 1, nil },
		Theirs: func(context.Context) (float64, error) { return 0, errors.New("no such program") }}
	_, err := c.Run(t.Context(), 3, func(string, ...any) {})
	require.EqualError(t, err, "x, p: no such program")
	_, err = StartTorch(t.Context(), "/no/python", 1)
	require.ErrorContains(t, err, "give --python an interpreter with torch")
	_, err = StartTorch(t.Context(), "true", 1)
	require.ErrorContains(t, err, "ended without an answer")
}

func TestPeerParsers(t *testing.T) {
	rate, err := parseLlamaBench([]byte("warning: [x]\n[\n  {\"n_prompt\": 512, \"avg_ts\": 1185.25}\n]\n"))
	require.NoError(t, err)
	require.Equal(t, 1185.25, rate)
	for _, bad := range []string{"", "[\n]", "[\n{]", "[\n{\"avg_ts\":1},{\"avg_ts\":2}]", "[\n{\"avg_ts\":0}]"} {
		_, err := parseLlamaBench([]byte(bad))
		require.Error(t, err, bad)
	}
	rate, err = parseBatchedBench([]byte("main: x\n\n{\"pl\": 8, \"speed_pp\": 9, \"speed_tg\": 320.5}\n"))
	require.NoError(t, err)
	require.Equal(t, 320.5, rate)
	table := "|    PP |     TG |    B |   N_KV |   T_PP s | S_PP t/s |   T_TG s | S_TG t/s |      T s |    S t/s |\n" +
		"|-------|--------|------|--------|----------|----------|----------|----------|----------|----------|\n"
	rate, err = parseBatchedBench([]byte(table +
		"|     1 |     64 |    8 |    520 |    0.090 |    89.03 |    2.780 |   184.17 |    2.870 |   181.18 |\n"))
	require.NoError(t, err)
	require.Equal(t, 184.17, rate)
	for _, bad := range []string{"", "{}", "{\"speed_tg\": }", "{\"speed_tg\": 0}", table} {
		_, err := parseBatchedBench([]byte(bad))
		require.Error(t, err, bad)
	}
	a, err := parseReply([]byte(`{"seconds": 0.5}`))
	require.NoError(t, err)
	require.Equal(t, 0.5, a.Seconds)
	_, err = parseReply([]byte(`{"error": "no such operator"}`))
	require.EqualError(t, err, "no such operator")
	_, err = parseReply([]byte("Traceback"))
	require.ErrorContains(t, err, "not JSON")
}
