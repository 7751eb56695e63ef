//go:build !nogpu && linux

package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/kernels/cuda/cudatest"
	"github.com/zerosearch-go/zerosearch/rl/rundir"
)

// TestResumeAfterLostGPU: a run whose GPU is lost in the middle ends with one error and leaves nothing on the GPU;
// resumed on another, it ends with the bytes of a run that was never disturbed.
func TestResumeAfterLostGPU(t *testing.T) {
	run := func(g *cudatest.GPU, out string, more ...string) (code int, stderr string) {
		m, restore := cudatest.Use(g)
		defer restore()
		code, _, stderr = zs("",
			trainArgs(t, out, append(more, "--total-steps", "2", "--train-batch-size", "1", "--n", "2",
				"--device", "cuda")...)...)
		require.NoError(t, m.Check())
		return code, stderr
	}
	launches := 0
	g := cudatest.A100()
	g.Fail = func(function string, n int) int {
		if function == "LaunchKernel" {
			launches = n
		}
		return 0
	}
	whole, out := filepath.Join(t.TempDir(), "whole"), filepath.Join(t.TempDir(), "run")
	code, stderr := run(g, whole)
	require.Zero(t, code, stderr)

	lost := cudatest.A100()
	lost.Fail = func(function string, n int) int {
		if function == "LaunchKernel" && n == 3*launches/4 {
			lost.Lose()
		}
		return 0
	}
	code, stderr = run(lost, out)
	require.Equal(t, exitFailed, code, stderr)
	require.Equal(t, 1, strings.Count(stderr, "error: "), stderr)
	require.Contains(t, stderr, "resume the run with --resume auto")
	saved := rundir.Steps(out)
	require.NotEmpty(t, saved)
	require.NotContains(t, saved, 2)

	code, stderr = run(cudatest.A100(), out, "--resume", "auto")
	require.Zero(t, code, stderr)
	require.Equal(t, metricsOf(t, whole), metricsOf(t, out))
	sameRun(t, whole, out, "step-2")
}
