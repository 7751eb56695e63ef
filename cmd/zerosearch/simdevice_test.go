package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/cpu"
	"github.com/zerosearch-go/zerosearch/rl"
	"github.com/zerosearch-go/zerosearch/rl/eval"
	"github.com/zerosearch-go/zerosearch/rl/rundir"
)

// simulating are flags of short simulated documents.
var simulating = []string{"--search-mode", "simulate_sft", "--simulation-max-tokens", "8", "--simulation-temperature",
	"0.01"}

// counter counts the batches of a device.
type counter struct {
	*cpu.Device
	batches int
}

func (c *counter) SetBatch(b kernels.Batch, l *kernels.Layout, kv kernels.KV, ids kernels.Tensor,
	fed []kernels.SampledInput) {
	c.batches++
	c.Device.SetBatch(b, l, kv, ids, fed)
}

// A run whose simulator is on another device than the policy gives the bits of a run on one device, where both give the
// same bits: whatever the simulator is, and whoever shares its weights where it is on the policy's device.
func TestSimulatorOnItsOwnDevice(t *testing.T) {
	dir := t.TempDir()
	model, err := taughtModel()
	require.NoError(t, err)
	adapter := filepath.Join(dir, "adapter")
	mustRun(t, "", trainArgs(t, adapter, "--total-steps", "1", "--lora-r", "2", "--lr", "3e-2", "--save-every", "0")...)
	q8 := filepath.Join(dir, "q8")
	mustRun(t, "", "quantize", "--model", model, "--out", q8)
	for name, flags := range map[string][]string{
		"full":    {"--kl-coef", "0.1"},
		"lora":    {"--lora-r", "2"},
		"bf16":    {"--lora-r", "2", "--sim-dtype", "bf16"},
		"q8":      {"--lora-r", "2", "--sim-dtype", "q8"},
		"over q8": {"--lora-r", "2", "--model", q8, "--dtype", "q8"},
		"adapter": {"--lora-r", "2", "--simulation-llm", adapter},
		"own":     {"--simulation-llm", q8},
	} {
		t.Run(name, func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "run")
			mustRun(t, "",
				trainArgs(t, out, append(append([]string{"--total-steps", "2", "--save-every", "1", "--n", "4"},
					simulating...),
					flags...)...)...)
			c, err := recordedConfig(out)
			require.NoError(t, err)
			policy, err := cpu.New(cpu.Options{Threads: 1})
			require.NoError(t, err)
			defer policy.Close()
			simulator, err := cpu.New(cpu.Options{Threads: 1})
			require.NoError(t, err)
			defer simulator.Close()
			counted := &counter{Device: simulator}
			c.Search.Device = counted
			v, err := rl.Verify(t.Context(), policy, c, out, 2)
			require.NoError(t, err)
			require.True(t, v.Exact)
			require.Nil(t, v.Difference, "%v", v.Difference)
			require.NotZero(t, counted.batches, "the simulator ran elsewhere")
		})
	}
}

// The reference device and the processor, one for the policy and one for the simulator, in every verb that has both.
func TestSimDevice(t *testing.T) {
	dir := t.TempDir()
	model, err := taughtModel()
	require.NoError(t, err)
	episodes := func(policy, simulator string) string {
		out := filepath.Join(dir, policy+"-"+simulator)
		flags := append([]string{"--total-steps", "1", "--save-every", "0", "--n", "4", "--lora-r", "2", "--device",
			policy},
			simulating...)
		if simulator != "" {
			flags = append(flags, "--sim-device", simulator)
		}
		mustRun(t, "", trainArgs(t, out, flags...)...)
		text, err := os.ReadFile(filepath.Join(out, "episodes.jsonl"))
		require.NoError(t, err)
		require.Contains(t, string(text), `"engine":"simulate_sft"`)
		return string(text)
	}
	for _, policy := range []string{"cpu", "ref"} {
		whole := episodes(policy, "")
		require.Equal(t, whole, episodes(policy, "cpu"))
		require.Equal(t, whole, episodes(policy, "ref"))
	}

	data := filepath.Join(dir, "questions.jsonl")
	require.NoError(t, os.WriteFile(data, []byte(questions()), 0o644))
	measured := func(flags ...string) (got eval.Evaluation) {
		args := append([]string{"eval", "--model", model, "--dtype", "f32", "--data", data, "--max-turns", "1",
			"--max-response-length", "8",
			"--json", "--no-greedy"}, simulating...)
		require.NoError(t, json.Unmarshal([]byte(mustRun(t, "", append(args, flags...)...)), &got))
		got.Seconds, got.Cost.Seconds = 0, 0
		return got
	}
	whole := measured()
	require.NotZero(t, whole.Tokens)
	require.Equal(t, whole, measured("--sim-device", "ref"))
	require.Equal(t, whole, measured("--device", "ref", "--sim-device", "cpu"))
	require.Equal(t, whole, measured("--sim-device", "ref", "--simulation-llm", model))

	request := `{"query":"a","question":"what is a?","golden_answers":["Ax"],"quality":"useful"}` + "\n"
	simulate := append([]string{"simulate", "--model", model, "--dtype", "f32"}, simulating...)
	require.Equal(t, mustRun(t, request, simulate...), mustRun(t, request, append(simulate, "--sim-device", "ref")...))
	_, _, log := zs(request, append(simulate, "-v", "--device", "cpu", "--sim-device", "ref")...)
	require.Contains(t, log, "device ref\n")
	require.NotContains(t, log, "device cpu", "the model is the simulator")

	ask := append([]string{"ask", "--model", model, "--dtype", "f32", "--max-turns", "1", "--max-response-length", "8",
		"what is a?"}, simulating...)
	require.Equal(t, mustRun(t, "", ask...), mustRun(t, "", append(ask, "--sim-device", "ref")...))
}

// The plan counts what a simulator on another device cannot share, and says on which device memory is taken.
func TestPlanOfSimDevice(t *testing.T) {
	model, err := taughtModel()
	require.NoError(t, err)
	plan := func(flags ...string) string {
		text := mustRun(t, "",
			append([]string{"plan", "--model", model, "--lora-r", "2", "--search-mode", "simulate_sft"},
				flags...)...)
		text, _, _ = strings.Cut(text, "this machine has") // what is available changes from call to call
		return text
	}
	require.Equal(t, 1, strings.Count(plan(), " weights "))
	require.Equal(t, plan("--device", "cpu"), plan("--sim-device", "cpu"))
	two := plan("--sim-device", "ref")
	require.Equal(t, 2, strings.Count(two, " weights "), two)
	header := regexp.MustCompile(`(?m)^ +host +cuda:99 *$`)
	require.NotRegexp(t, header, two)
	gpu := plan("--sim-device", "cuda:99") // as for another machine
	columns := header.FindString(gpu)
	require.NotEmpty(t, columns, gpu)
	column := func(row string) string { // the one that a row's bytes are in
		line := regexp.MustCompile(`(?m)^ *` + row + `.*$`).FindString(gpu)
		end := strings.Index(line, " MiB") + len(" MiB")
		require.Greater(t, end, len(" MiB"), gpu)
		words := strings.Fields(columns[:end])
		return words[len(words)-1]
	}
	require.Equal(t, "host", column("policy +weights"), gpu)
	require.Equal(t, "cuda:99", column("simulator +weights"), gpu)
	require.Regexp(t, header, plan("--for", "generate", "--device", "cuda:99"))
}

// A run is verified on the devices that it ran on, and on others within tolerances: never told to be wrong.
func TestVerifySimDevice(t *testing.T) {
	out := filepath.Join(t.TempDir(), "run")
	mustRun(t, "", trainArgs(t, out, append([]string{"--total-steps", "1", "--save-every", "1", "--n", "4", "--lora-r",
		"2", "--sim-device",
		"ref"}, simulating...)...)...)
	st, err := rundir.ReadState(filepath.Join(out, "checkpoints/step-1"))
	require.NoError(t, err)
	require.Equal(t, "ref", st.SimPath)
	on := "computed   on " + st.Path
	require.Contains(t, mustRun(t, "", "verify", out, "--sim-device", "ref"),
		on+", the simulator on ref: every bit is compared\n")
	require.Contains(t, mustRun(t, "", "verify", out),
		on+": the run was made on "+st.Path+", the simulator on ref: recorded ids are scored")
}

func TestSimDeviceRefused(t *testing.T) {
	model, err := taughtModel()
	require.NoError(t, err)
	out := filepath.Join(t.TempDir(), "run")
	for want, args := range map[string][]string{
		"error: --sim-device is of no use with --search-mode none": trainArgs(t, out, "--search-mode", "none",
			"--sim-device", "ref"),
		"error: --sim-device is of no use with --search-mode bm25": {"eval", "--model", model, "--data",
			trainArgs(t, "")[4],
			"--search-mode", "bm25",
			"--corpus", letters(t), "--sim-device", "ref"},
		`error: --sim-device: "gpu" is not a device`: {"plan", "--model", model, "--sim-device", "gpu"},
	} {
		code, _, stderr := zs("", args...)
		require.Equal(t, exitUsage, code, stderr)
		require.True(t, strings.HasPrefix(stderr, want), stderr)
	}
	code, _, stderr := zs("", trainArgs(t, out, append(simulating, "--sim-device", "cuda:99")...)...)
	require.Equal(t, exitFailed, code, stderr)
	require.Contains(t, stderr, "error: --sim-device: opening device cuda:99: ")
}
