//go:build !nogpu && linux

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/demo"
	"github.com/zerosearch-go/zerosearch/kernels/cuda/cudatest"
)

// TestDemoOnCUDA: the small demo, of one step, runs to its end on a GPU that is simulated. Rollout and trainer have the
// same log-probs there, bit for bit, and what is measured is close to what the CPU measures: another order of sums
// draws another id now and then.
func TestDemoOnCUDA(t *testing.T) {
	if os.Getenv(simulatedGPU) == "" {
		t.Skip("it takes some minutes: set " + simulatedGPU + "=1")
	}
	run := func(device string) (r demo.Result, first map[string]any) {
		out := filepath.Join(t.TempDir(), device)
		start := time.Now()
		text := mustRun(t, "", "demo", "--small", "--steps", "1", "--json", "--device", device, "--out", out)
		t.Logf("%s: %.0f s\n%s", device, time.Since(start).Seconds(), text)
		require.NoError(t, json.Unmarshal([]byte(text), &r))
		return r, metricsOf(t, out)[0]
	}
	want, first := run("cpu")
	cudatest.Install(t, cudatest.A100())
	got, here := run("cuda")
	require.Zero(t, got.LogprobDiff)
	require.InDelta(t, want.Before, got.Before, 0.2)
	require.InDelta(t, want.Index, got.Index, 0.25)
	for _, name := range []string{"critic/score/mean", "search/per_question", "response_length/mean", "actor/entropy"} {
		require.Contains(t, first, name)
		require.InEpsilon(t, first[name], here[name], 0.3, name)
	}
}
