package bench

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
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
	c := contest{name: "x", peer: "p", unit: "t/s", ours: side('A'), theirs: side('B')}
	row, err := c.run(context.Background(), PeerOptions{Options: Options{}.withDefaults(), Pairs: 3})
	require.NoError(t, err)
	require.Equal(t, "AB"+"ABBAAB", order)
	require.Equal(t, 2.0, row.Ratio)
	require.Equal(t, []float64{1, 6}, []float64{row.RatioMin, row.RatioMax})
	require.Equal(t, 20.0, row.Ours)

	var b bytes.Buffer
	require.NoError(t, WritePeers(&b, "md", []PeerRow{row}))
	require.Contains(t, b.String(), "| x    |")
	require.Contains(t, b.String(), "1.00 - 6.00")
	require.NoError(t, WritePeers(&b, "json", nil))
	require.Error(t, WritePeers(&b, "csv", nil))
}

// If at least three pairs are undisturbed, only those are used; otherwise all are used and the row is marked.
func TestQuietPairsCount(t *testing.T) {
	var row PeerRow
	row.sum([]pair{{1, 1, 0}, {9, 1, 0.9}, {2, 1, 0.05}, {3, 1, 0}})
	require.Equal(t, PeerRow{Ours: 2, Theirs: 1, Ratio: 2, RatioMin: 1, RatioMax: 3, Pairs: 3, Foreign: 0.05}, row)
	row = PeerRow{}
	row.sum([]pair{{1, 1, 0}, {9, 1, 0.9}, {2, 1, 0.05}})
	require.Equal(t, PeerRow{Ours: 2, Theirs: 1, Ratio: 2, RatioMin: 1, RatioMax: 9, Pairs: 3, Foreign: 0.9}, row)
}

// The error of a known crash says how to avoid it.
func TestLlamaCrashes(t *testing.T) {
	_, err := runLlama(context.Background(), []string{"sh", "-c", "kill -SEGV $$"})
	require.ErrorContains(t, err, "running sh: signal: segmentation fault")
	require.ErrorContains(t, err, `build it with CXXFLAGS="-fno-dse -fno-tree-dse"`)
	_, err = runLlama(context.Background(), []string{"sh", "-c", "exit 3"})
	require.EqualError(t, err, "running sh: exit status 3")
}

func TestContestFails(t *testing.T) {
	c := contest{name: "x", peer: "p", ours: func(context.Context) (float64, error) { return 1, nil },
		theirs: func(context.Context) (float64, error) { return 0, errors.New("no such program") }}
	_, err := c.run(context.Background(), PeerOptions{Options: Options{}.withDefaults(), Pairs: 3})
	require.EqualError(t, err, "x, p: no such program")
	_, err = Peers(context.Background(), PeerOptions{})
	require.ErrorContains(t, err, "no peer to compare with")
	_, err = startServer(context.Background(), "/no/python", 1)
	require.ErrorContains(t, err, "give --python an interpreter with torch")
	_, err = startServer(context.Background(), "true", 1)
	require.ErrorContains(t, err, "ended without an answer")
}

// A peer prints the time of its steps. It must have done the same work, and its last step is used.
func TestStepPeer(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there is no sh")
	}
	peer := func(command string) (*Report, error) {
		return GRPO(context.Background(), tinyOptions(), GRPOTest{Questions: 1, N: 2, Response: 5, Turns: 1, Prompt: 20,
			Observation: 6, NoReference: true,
			Peers: []StepPeer{{"P", command}}, Pairs: 2})
	}
	rep, err := peer(`echo hello; echo '{"step": 0, "step_s": 900}'; echo '{"step": 1, "step_s": 4, "new_tokens": 10}'`)
	require.NoError(t, err)
	require.Len(t, rep.Rows[0].Peers, 1)
	x := rep.Rows[0].Peers[0]
	require.Equal(t, []any{"grpo1x2", "P", "t/s", 2, 1, 2.5},
		[]any{x.Test, x.Peer, x.Unit, x.Pairs, x.Threads, x.Theirs}, "10 tokens in 4 seconds")
	require.InEpsilon(t, x.Ours/x.Theirs, x.Ratio, 0.5)
	var b bytes.Buffer
	require.NoError(t, Write(&b, "md", rep))
	require.Contains(t, b.String(), "| P    |")

	for command, want := range map[string]string{
		`echo '{"step_s": 4, "new_tokens": 11}'`: "its step has 11 new tokens, ours 10: give both the same work",
		"echo 1":                                 "no line of its output is a JSON object with step_s",
		"echo no torch >&2; exit 3":              "exit status 3: no torch",
	} {
		rep, err := peer(command)
		require.ErrorContains(t, err, want)
		require.Positive(t, rep.Rows[0].Mean, "ours is not lost")
	}
	list, err := ParsePeers([]string{"TRL=python x.py --a=b"})
	require.NoError(t, err)
	require.Equal(t, []StepPeer{{"TRL", "python x.py --a=b"}}, list)
	_, err = ParsePeers([]string{"python"})
	require.ErrorContains(t, err, "is not NAME=COMMAND")
}

// The error of a filter without matches lists the tests.
func TestNoPeerMatches(t *testing.T) {
	llama := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(llama, "model-q8_0.gguf"), nil, 0o600))
	o := PeerOptions{Options: Options{Threads: []int{1}}, Llama: llama, Only: "^nothing$"}
	_, err := Peers(context.Background(), o)
	require.ErrorContains(t, err,
		`--only "^nothing$" matches none of the tests: pp512 q8 llama.cpp, pp4096 q8 llama.cpp`)
}
