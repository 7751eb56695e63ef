//go:build !nogpu && linux

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/zerosearch-go/zerosearch/kernels/cuda/cudatest"
	"github.com/zerosearch-go/zerosearch/kernels/devices"
	"github.com/zerosearch-go/zerosearch/rl"
	"github.com/zerosearch-go/zerosearch/rl/episode"
	"github.com/zerosearch-go/zerosearch/rl/rundir"
)

// The tests of this file run on GPUs that are simulated (package cudatest).

// twoRoles are flags of a short run, one of whose rollouts searches.
func twoRoles(more ...string) []string {
	flags := append([]string{"--total-steps", "1", "--save-every", "0", "--n", "4", "--train-batch-size", "1", "--seed",
		"8"}, simulating...)
	return append(flags, more...)
}

// threads lists the threads that call a GPU's driver, each as often as it takes over from another.
type threads struct {
	ids   []int
	calls int
}

func (x *threads) note(string, int) int {
	if x.calls++; len(x.ids) == 0 || x.ids[len(x.ids)-1] != unix.Gettid() {
		x.ids = append(x.ids, unix.Gettid())
	}
	return 0
}

// TestTwoGPUs: the policy on one GPU and the simulator on another give the run of the CPU. Each GPU belongs to the
// thread of its engine's loop from the moment when that has begun.
func TestTwoGPUs(t *testing.T) {
	out := filepath.Join(t.TempDir(), "cpu")
	mustRun(t, "", trainArgs(t, out, twoRoles()...)...)
	c, err := recordedConfig(out)
	require.NoError(t, err)
	c.Schedule.Out = "" // the CPU's run is there

	var on [2]threads
	runtime.LockOSThread() // what is opened is opened by this thread
	defer runtime.UnlockOSThread()
	gpus := []*cudatest.GPU{cudatest.A100(), cudatest.A100()}
	for i, g := range gpus {
		g.Fail = on[i].note
	}
	cudatest.Install(t, gpus...)
	policy, err := devices.Open("cuda:0", devices.Options{})
	require.NoError(t, err)
	c.Search.Device, err = devices.Open("cuda:1", devices.Options{})
	require.NoError(t, err)

	tr, err := rl.New(t.Context(), policy, c)
	require.NoError(t, err)
	opened := [2]int{on[0].calls, on[1].calls}
	var got rundir.Metrics
	var lines []string
	tr.OnStep = func(_ int, m rundir.Metrics, groups [][]*episode.Episode) {
		got = m
		for _, e := range slices.Concat(groups...) {
			line, err := e.Line()
			require.NoError(t, err)
			lines = append(lines, string(line))
		}
	}
	_, err = tr.Run(t.Context())
	require.NoError(t, err)
	for i := range on {
		require.Greater(t, on[i].calls, opened[i]+100, "GPU %d was not used", i)
		loop := on[i].ids[len(on[i].ids)-1]
		require.Equal(t, []int{unix.Gettid(), loop}, on[i].ids, "GPU %d: threads that used it, one after the other", i)
	}
	require.NotEqual(t, on[0].ids, on[1].ids)
	tr.Close()
	require.NoError(t, policy.Close())
	require.NoError(t, c.Search.Device.Close())

	want := metricsOf(t, out)[0]
	require.NotZero(t, want["actor/grad_norm"])
	delete(want, "step")
	for name, x := range want {
		require.InDelta(t, x, got[name], 1e-4*max(1, x.(float64)), name)
	}
	require.Zero(t, got["rollout/logprob_diff_max"])
	text, err := os.ReadFile(filepath.Join(out, "episodes.jsonl"))
	require.NoError(t, err)
	require.Len(t, lines, strings.Count(string(text), "\n"))
	i := 0
	for line := range strings.Lines(string(text)) {
		require.Equal(t, exceptLogprobs(t, line), exceptLogprobs(t, lines[i]))
		i++
	}
}

// TestGPUFails: whichever GPU of a run fails, and when, there is one error, and everything is given back.
func TestGPUFails(t *testing.T) {
	for _, c := range []struct {
		name, function string
		gpu, at, code  int
		want           string
	}{
		{"policy lost", "LaunchKernel", 0, 250, 719, "cuda:0: "},
		{"simulator lost", "LaunchKernel", 1, 60, 719, "the simulator at cuda:1: gave up after 1 try: "},
		{"a result of the policy", "EventSynchronize", 0, 90, 700, "cuda:0: "},
		{"no memory for the simulator", "MemAllocAsync", 1, 20, 2, "cuda:1: allocating"},
		{"the simulator's GPU is another's", "StreamCreate", 1, 1, 46,
			"error: --sim-device: opening device cuda:1 (Fake A100): "},
	} {
		t.Run(c.name, func(t *testing.T) {
			gpus := []*cudatest.GPU{cudatest.A100(), cudatest.A100()}
			gpus[c.gpu].Fail = func(function string, n int) int {
				// from then on: a launch that fails while a pass is recorded ends nothing
				if function == c.function && n >= c.at {
					return c.code
				}
				return 0
			}
			cudatest.Install(t, gpus...)
			out := filepath.Join(t.TempDir(), "run")
			code, _, stderr := zs("", trainArgs(t, out, twoRoles("--device", "cuda:0", "--sim-device", "cuda:1")...)...)
			t.Log(stderr)
			require.Equal(t, exitFailed, code, stderr)
			require.Equal(t, 1, strings.Count(stderr, "error: "), stderr)
			last := stderr[strings.LastIndex(strings.TrimSpace(stderr), "\n")+1:]
			require.True(t, strings.HasPrefix(last, "error: "), stderr)
			require.Contains(t, last, c.want)
			require.NotContains(t, last, "make room")
		})
	}
}

// exceptLogprobs is a line of episodes.jsonl without what another order of sums changes in its last digits.
func exceptLogprobs(t *testing.T, line string) map[string]any {
	var e map[string]any
	require.NoError(t, json.Unmarshal([]byte(line), &e))
	for _, turn := range e["turns"].([]any) {
		delete(turn.(map[string]any), "logprobs")
	}
	return e
}
