package bench

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/bench/peers"
)

// A peer prints the time of its steps. It must have done the same work, and its last step is used.
func TestStepPeer(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there is no sh")
	}
	peer := func(command string) (*Report, error) {
		return GRPO(context.Background(), tinyOptions(), GRPOTest{Questions: 1, N: 2, Response: 5, Turns: 1, Prompt: 20,
			Observation: 6, NoReference: true,
			Peers: []peers.Step{{Name: "P", Command: command}}, Pairs: 2})
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
	list, err := peers.ParseSteps([]string{"TRL=python x.py --a=b"})
	require.NoError(t, err)
	require.Equal(t, []peers.Step{{Name: "TRL", Command: "python x.py --a=b"}}, list)
	_, err = peers.ParseSteps([]string{"python"})
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
	o.IKLlama = t.TempDir()
	_, err = Peers(context.Background(), o)
	require.ErrorContains(t, err, "tg128@b64 q8 llama.cpp, pp512 q8 ik_llama.cpp", "with the model file of --llama")
}

func TestWithoutShapes(t *testing.T) {
	require.Equal(t, []string{"matmul MxKxN f32 torch", "train4x512 f32 PyTorch", "matmul MxKxN bf16 torch"}, withoutShapes([]string{
		"matmul 1x576x576 f32 torch", "matmul 4x576x1536 f32 torch", "train4x512 f32 PyTorch", "matmul 1x576x576 bf16 torch"}))
}

func TestWritePeers(t *testing.T) {
	row := peers.Row{Test: "x", Peer: "p", Unit: "t/s", RatioMin: 1, RatioMax: 6}
	won, lost, worse := row, row, row
	won.Ratio, lost.Ratio, worse.Ratio, worse.Test, worse.DType = 1, 0.994, 0.5, "tg8", "q8"
	var b bytes.Buffer
	require.NoError(t, WritePeers(&b, "md", []peers.Row{won, lost, worse}))
	require.Contains(t, b.String(), "\n\nwhere we lose: tg8 q8 with 0 threads (0.50 of p), x  with 0 threads (0.99 of p)\n\n")
	b.Reset()
	require.NoError(t, WritePeers(&b, "md", []peers.Row{won}))
	require.Contains(t, b.String(), "\n\nwhere we lose: nowhere\n\n")
	require.Contains(t, b.String(), "| x    |")
	require.Contains(t, b.String(), "1.00 - 6.00")
	require.NoError(t, WritePeers(&b, "json", nil))
	require.Error(t, WritePeers(&b, "csv", nil))
	_, err := Peers(t.Context(), PeerOptions{})
	require.ErrorContains(t, err, "no peer to compare with")
}
