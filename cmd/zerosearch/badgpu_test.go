//go:build !nogpu && linux

package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/kernels/cuda/cudatest"
)

// TestUnusableGPUs: what is wrong with a machine is one line that says what to do, in the list of devices and where a
// GPU is asked for; auto computes on the CPU.
func TestUnusableGPUs(t *testing.T) {
	model, err := taughtModel()
	require.NoError(t, err)
	init := func(result int) func(*cudatest.Machine) { return func(m *cudatest.Machine) { m.Init = result } }
	for _, c := range []struct {
		name string
		set  func(*cudatest.Machine)
		want string
	}{
		{"old driver", func(m *cudatest.Machine) { m.Version = 11000 },
			"NVIDIA's driver knows CUDA 11.0, and 11.2 is needed: update it"},
		{"stub", init(34), "libcuda is the toolkit's stub, not the driver: take its folder"},
		{"no GPU", init(100), "no GPU is visible: look at CUDA_VISIBLE_DEVICES"},
		{"container", init(803), "libcuda and the kernel module have different versions: restart the machine"},
		{"compatibility package", init(804), "use the driver's own"},
		{"bad state", init(999), "the driver is in a bad state: nvidia-smi must work"},
		{"none", func(m *cudatest.Machine) { m.GPUs = nil }, "no GPU is visible"},
		{"old GPU", func(m *cudatest.Machine) { m.GPUs[0].Major, m.GPUs[0].Minor = 7, 5 },
			"its compute capability is 7.5, and 8.0 (Ampere) or later is needed: use another GPU or --device cpu"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.set(cudatest.Install(t, cudatest.A100()))
			require.Contains(t, mustRun(t, "", "devices"), c.want)
			code, stdout, stderr := zs(`{"ids":[1,2,3]}`, "score", "--model", model, "--device", "cuda")
			require.Equal(t, exitFailed, code)
			require.Empty(t, stdout)
			require.Equal(t, 1, strings.Count(stderr, "\n"), stderr)
			require.True(t, strings.HasPrefix(stderr, "error: opening device cuda: "), stderr)
			require.Contains(t, stderr, c.want)
			require.Contains(t, mustRun(t, `{"ids":[1,2,3]}`, "score", "--model", model), `"logprobs"`)
		})
	}
}

// TestBusyGPUs: memory that others have taken, a GPU that belongs to another process, and one that is divided.
func TestBusyGPUs(t *testing.T) {
	model, err := taughtModel()
	require.NoError(t, err)
	score := []string{"score", "--model", model, "--device", "cuda"}
	t.Run("memory", func(t *testing.T) {
		small := cudatest.A100()
		small.Memory = 1 << 20
		cudatest.Install(t, small)
		code, _, stderr := zs(`{"ids":[1,2,3]}`, score...)
		require.Equal(t, exitFailed, code)
		require.Equal(t, 1, strings.Count(stderr, "\n"), stderr)
		require.Contains(t, stderr, "the GPU has not enough free memory: use a smaller model")
		code, _, stderr = zs("", trainArgs(t, filepath.Join(t.TempDir(), "run"), "--device", "cuda")...)
		require.Equal(t, exitFailed, code)
		require.Equal(t, 1, strings.Count(stderr, "\n"), stderr)
		require.Regexp(t, "^error: planning the memory of .* cuda:0", stderr)
	})
	t.Run("exclusive", func(t *testing.T) {
		m := cudatest.Install(t, cudatest.A100())
		m.Fail = func(function string, _ int) int {
			return map[string]int{"DevicePrimaryCtxRetain": 46}[function]
		}
		code, _, stderr := zs(`{"ids":[1,2,3]}`, score...)
		require.Equal(t, exitFailed, code)
		require.Equal(t, 1, strings.Count(stderr, "\n"), stderr)
		require.Contains(t, stderr,
			"the GPU is used exclusively by another process: stop it, or choose another GPU with --device cuda:N")
	})
	t.Run("shared", func(t *testing.T) { // by two programs at once
		cudatest.Install(t, cudatest.A100())
		results := make(chan string, 2)
		for range 2 {
			go func() {
				_, stdout, stderr := zs(`{"ids":[1,2,3]}`, score...)
				results <- stdout + stderr
			}()
		}
		require.Equal(t, <-results, <-results)
	})
	t.Run("divided", func(t *testing.T) {
		g := cudatest.A100()
		g.Name, g.MIG = "Fake A100 MIG 1g.5gb", true
		cudatest.Install(t, g)
		list := mustRun(t, "", "devices")
		require.Contains(t, list, "Fake A100 MIG 1g.5gb")
		require.Contains(t, list, "MIG-ee000000-0000-0000-0000-000000000000")
		require.Contains(t, mustRun(t, `{"ids":[1,2,3]}`, score...), `"logprobs"`)
	})
}
