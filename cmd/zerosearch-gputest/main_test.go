//go:build !nogpu && linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/cuda/cudatest"
	"github.com/zerosearch-go/zerosearch/kernels/devices"
	"github.com/zerosearch-go/zerosearch/kernels/ref"
)

// The test binary is the program itself where this variable is set: with a GPU that is simulated, or with none.
const mainEnv = "ZEROSEARCH_GPUTEST_MAIN"

func TestMain(m *testing.M) {
	switch os.Getenv(mainEnv) {
	case "":
		os.Exit(m.Run())
	case "simulated":
		cudatest.Use(cudatest.A100())
	}
	checks = append(checks,
		check{"hang", "", time.Minute, nil, func(j *job) error { j.say("waiting"); select {} }},
		check{"crash", "", time.Minute, nil, func(*job) error { go func() { panic("lost") }(); select {} }},
		check{"leave", "", time.Minute, nil, func(*job) error { os.Exit(0); return nil }},
		check{"print", "", time.Minute, []string{"A_LIBRARY=1"}, func(j *job) error {
			fmt.Println("a library says", os.Getenv("A_LIBRARY"))
			return skip("no reason")
		}})
	main()
}

// gputest runs the program, every check within the test, but for the one that sends signals to its process.
func gputest(args ...string) (code int, stdout, stderr string) {
	return gputestBy(func(ctx context.Context, c check, f flags, say func(string)) result {
		if c.name == "signals" {
			return inProcess(ctx, c, f, say)
		}
		return c.result(ctx, f, say)
	}, args...)
}

func gputestBy(do perform, args ...string) (code int, stdout, stderr string) {
	var out, log bytes.Buffer
	code = run(args, &out, &log, do)
	return code, out.String(), log.String()
}

// TestQuick: all checks on a GPU that is simulated. What measures time is left out.
func TestQuick(t *testing.T) {
	t.Setenv(mainEnv, "simulated")
	cudatest.Install(t, cudatest.A100())
	file := filepath.Join(t.TempDir(), "report.json")
	code, stdout, stderr := gputest("--quick", "--json", file, "--cases", "^(norm|rope|memory)$")
	require.Zero(t, code, stdout+stderr)
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	var r report
	require.NoError(t, json.Unmarshal(text, &r))
	require.True(t, r.Passed)
	require.Len(t, r.Checks, len(checks))
	got := map[string]string{}
	for _, c := range r.Checks {
		got[c.Name] = c.Status
		require.Equal(t, c.Status == skipped, c.Reason != "", c.Name)
	}
	graphs := skipped
	if _, ok := any(opened(t)).(kernels.Recorder); ok {
		graphs = passed
	}
	require.Equal(t, map[string]string{"discovery": passed, "jit": passed, "conformance": passed, "bits": passed,
		"parity": passed,
		"grpo":   passed, "leaks": passed, "faults": passed, "signals": passed, "graphs": graphs, "own": passed,
		"bandwidth": skipped,
		"products":  skipped, "products-own": skipped, "decode": skipped, "step": skipped}, got)
	require.Contains(t, stdout, "cuda:0 Fake A100, compute capability 8.0, 4 multiprocessors, 1.1 GB, GPU-00000000-")
	require.Contains(t, stdout, "PASS norm ")
	require.Contains(t, stdout, "compute-sanitizer")
	require.Regexp(t, `allocating \d+ bytes: error 2 .*: the GPU has not enough free memory: use `, stdout)
	require.Contains(t, stdout, "all weights: log-probs differ by 0 at most")
}

func opened(t *testing.T) kernels.Device {
	d, err := devices.Open("cuda", devices.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	return d
}

// TestFailures: what a device does wrong is found.
func TestFailures(t *testing.T) {
	t.Run("launches", func(t *testing.T) {
		m, restore := cudatest.Use(cudatest.A100()) // the suite leaves its tensors where a case fails
		defer restore()
		m.Fail = func(function string, n int) int {
			if function == "LaunchKernel" && n > 3 {
				return 719
			}
			return 0
		}
		code, stdout, stderr := gputest("--run", "conformance|faults", "--quick", "--cases", "norm")
		require.Equal(t, exitFailed, code)
		require.Regexp(t, `FAIL  conformance, [\d.]+ s: \d+ of \d+ cases failed`, stdout)
		require.Contains(t, stdout, "error 719")
		require.Contains(t, stderr, "error: testing cuda: failed: conformance, faults: please report")
	})
	t.Run("registers", func(t *testing.T) {
		require.True(t, hot("gemm32.ptx"))
		require.True(t, hot("attention_backward_tiles.ptx"))
		require.False(t, hot("sample.ptx"))
	})
	j := &job{ctx: t.Context(), line: func(string) {}, values: map[string]float64{}}
	t.Run("bits", func(t *testing.T) {
		bad, err := rowBits(ref.New(), []int{1, 3, 9}, 5, 7, kernels.BF16)
		require.NoError(t, err)
		require.Empty(t, bad)
		bad, err = rowBits(batchDependent{ref.New()}, []int{1, 3, 9}, 5, 7, kernels.BF16)
		require.NoError(t, err)
		require.Equal(t, []rowDiff{{9, 1}}, bad)
		_, err = rowBits(idle{ref.New()}, []int{1, 3}, 5, 7, kernels.BF16)
		require.ErrorContains(t, err, "5 of 5 results are 0")
	})
	t.Run("leaks", func(t *testing.T) {
		m, restore := cudatest.Use(cudatest.A100())
		defer restore()
		d, err := devices.Open("cuda", devices.Options{})
		require.NoError(t, err)
		forgotten := func() error { _, err := d.Alloc(1000); return err }
		require.ErrorContains(t, j.givesBack(d, 3, forgotten), "1000 bytes are not given back in 1 rounds")
		require.NoError(t, d.Close())
		require.ErrorContains(t, m.Check(), "2 allocations")
	})
	t.Run("distance", func(t *testing.T) {
		require.Zero(t, distance([]float32{1, 4}, []float32{1, 4}))
		require.Equal(t, 0.25, distance([]float32{1, -4}, []float32{2, -4}))
		require.Greater(t, distance(noise(3, 1), []float32{0, float32(math.NaN()), 0}), 1e9)
	})
}

// batchDependent has another bit in products of many rows.
type batchDependent struct{ kernels.Device }

func (d batchDependent) MatMul(y, x kernels.Tensor, w kernels.Weight, e kernels.Epilogue) {
	d.Device.MatMul(y, x, w, e)
	if x.Rows > 8 {
		kernels.Upload(d, kernels.Mat(y.Buf, kernels.F32, 0, 1, 1), []float32{1})
	}
}

// idle computes no products.
type idle struct{ kernels.Device }

func (idle) MatMul(kernels.Tensor, kernels.Tensor, kernels.Weight, kernels.Epilogue) {}

// TestProcesses: each check is a process, whose end is told whatever it is.
func TestProcesses(t *testing.T) {
	t.Setenv(mainEnv, "simulated")
	start := func(name string, limit time.Duration) (r result, lines []string) {
		r = inProcess(t.Context(), check{name: name, limit: limit, env: []string{"A_LIBRARY=1"}},
			flags{Device: "cuda", Quick: true},
			func(l string) { lines = append(lines, l) })
		require.Equal(t, name, r.Name)
		return r, lines
	}
	r, lines := start("discovery", time.Minute)
	require.Equal(t, passed, r.Status, r.Reason)
	require.Equal(t, lines, r.Lines)
	require.Contains(t, lines[0], "driver libcuda.fake, CUDA 13.0")
	require.EqualValues(t, 1<<30, r.Values["memory_bytes"])

	r, lines = start("hang", 500*time.Millisecond)
	require.Equal(t, failed, r.Status)
	require.Equal(t, "it did not end in 500ms and was stopped (the last that it said: waiting)", r.Reason)
	require.Equal(t, []string{"waiting"}, lines)

	r, _ = start("crash", time.Minute)
	require.Equal(t, failed, r.Status)
	require.Contains(t, r.Reason, "its process ended: exit status 2: panic: lost")

	r, _ = start("leave", time.Minute)
	require.Equal(t, failed, r.Status)
	require.Equal(t, "its process ended without a result", r.Reason)

	r, lines = start("print", time.Minute)
	require.Equal(t, skipped, r.Status)
	require.Equal(t, []string{"a library says 1"}, lines)

	ctx, stop := context.WithCancelCause(t.Context())
	stop(errors.New("Ctrl-C"))
	_, err := watch(ctx, time.Minute, check{name: "hang"}, flags{}, func(string) {})
	require.Error(t, err)
}

// TestWithoutGPU: the program says why there is none and what to do, and ends.
func TestWithoutGPU(t *testing.T) {
	if devices.List().NoCUDA == "" {
		t.Skip("this machine has a GPU")
	}
	t.Setenv(mainEnv, "none")
	code, stdout, stderr := gputestBy(inProcess)
	require.Equal(t, exitFailed, code)
	require.Regexp(t,
		regexp.MustCompile(`^discovery: driver, GPUs and libraries\n +FAIL  discovery, [\d.]+ s: \S.*\n$`), stdout)
	require.Equal(t, 1, strings.Count(stderr, "\n"), stderr)
	require.True(t, strings.HasPrefix(stderr, "error: looking for a GPU: "), stderr)
}

func TestUsage(t *testing.T) {
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"--device cpu", exitUsage, `error: --device "cpu": this command tests NVIDIA GPUs: use cuda, or cuda:N`},
		{"--device cuda:x", exitUsage, `error: --device "cuda:x": this command`},
		{"--run (", exitUsage, "error: --run: error parsing regexp"},
		{"--run nothing", exitUsage, `error: --run: no check matches "nothing": use some of discovery, jit, `},
		{"--cases (", exitUsage, "error: --cases: error parsing regexp"},
		{"--fast", exitUsage, "error: unknown flag --fast, did"},
		{"--check nothing", exitUsage, `error: --check: there is no check "nothing"`},
		{"--list --run bits", exitPassed, "bits           90 s at most  a row of a product"},
		{"--help", exitPassed, "Exit status 0: every check passed"},
		{"--version", exitPassed, "go1."},
	} {
		code, stdout, stderr := gputest(strings.Fields(c.args)...)
		require.Equal(t, c.code, code, c.args)
		require.Contains(t, stdout+stderr, c.want)
	}
	cudatest.Install(t, cudatest.A100())
	code, _, stderr := gputest("--quick", "--run", "bandwidth", "--json",
		filepath.Join(t.TempDir(), "no", "report.json"))
	require.Equal(t, exitFailed, code)
	require.Contains(t, stderr, "give --json a file that can be written")
}

// Every check that scripts/first-hour-gpu.sh and docs/gpu.md name exists: a name that matches nothing would be left out
// unseen.
func TestNamesOfChecksInScripts(t *testing.T) {
	var known []string
	for _, c := range checks {
		known = append(known, c.name)
	}
	for file, pattern := range map[string]string{
		"../../scripts/first-hour-gpu.sh": `(?m)^\s*(?:checks \w+|.* --run) '([^']*)'`,
		"../../docs/gpu.md":               `--run '([^']*)'`,
	} {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		lists := regexp.MustCompile(pattern).FindAllStringSubmatch(string(text), -1)
		require.NotEmpty(t, lists, file)
		for _, list := range lists {
			for _, name := range strings.Split(strings.Trim(list[1], "^()$"), "|") {
				require.Contains(t, known, name, file)
			}
		}
	}
}
