package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/zerosearch-go/zerosearch/bench"
	"github.com/zerosearch-go/zerosearch/bench/ops"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/devices"
)

// grpo takes steps of GRPO, all weights and an adapter, and compares the log-probs that were recorded while sampling,
// in batches that change from token to token, with those of the forward pass of training.
func grpo(j *job) error {
	shape, t := "qwen2.5-0.5b", bench.GRPOTest{Questions: 4, N: 4, Response: 48, Turns: 2, Prompt: 96, Observation: 64,
		NoWarmup: true}
	if j.flags.Quick {
		shape, t = "tiny", bench.GRPOTest{Questions: 2, N: 2, Response: 4, Turns: 2, Prompt: 10, Observation: 5,
			NoWarmup: true}
	}
	worst := 0.0
	for _, rank := range []int{0, 8} {
		t.LoRAR = rank
		row, err := j.grpoRow(shape, t)
		if err != nil {
			return err
		}
		diff := *row.LogprobDiff
		worst = max(worst, diff)
		j.say("%s, %s: log-probs differ by %g at most, %.1f s", shape, trained(rank), diff, row.Seconds)
	}
	if j.values["logprob_diff_max"] = worst; worst != 0 {
		return fmt.Errorf(
			"log-probs of rollout and training differ by %g: the recorded ones are kept and truncated importance "+
				"sampling corrects the rest, but runs are no longer exact", worst)
	}
	return nil
}

func trained(rank int) string {
	if rank == 0 {
		return "all weights"
	}
	return fmt.Sprintf("an adapter of rank %d", rank)
}

// grpoRow is one step.
func (j *job) grpoRow(shape string, t bench.GRPOTest) (bench.Row, error) {
	r, err := bench.GRPO(j.ctx, bench.Options{Device: j.flags.Device, Shape: shape, DType: kernels.BF16, Reps: 1,
		Seed: 3}, t)
	if err != nil {
		return bench.Row{}, err
	}
	return r.Rows[0], nil
}

// stepTest is the step that is timed.
var stepTest = bench.GRPOTest{Questions: 16, N: 5, Response: 128, Turns: 2, Prompt: 256, Observation: 384,
	MicroBatch: 8192}

// step times a step of GRPO with everything that one has, for the largest shape whose weights, masters, gradients,
// moments and reference fit.
func step(j *job) error {
	device, available, err := j.timedMemory()
	if err != nil {
		return err
	}
	shape := ""
	for _, name := range []string{"qwen2.5-3b", "qwen2.5-1.5b", "qwen2.5-0.5b"} {
		c, err := ops.LookupModel(name)
		if err != nil {
			return err
		}
		if shape == "" && 24*c.Parameters()+12<<30 < available { // bytes a parameter; activations, keys and values
			shape = name
		}
	}
	if shape == "" {
		return skip(fmt.Sprintf("%.1f GB of the GPU are available, and the smallest shape needs more",
			float64(available)/1e9))
	}
	row, err := j.grpoRow(shape, stepTest)
	if err != nil {
		return err
	}
	t := stepTest
	j.say("%s: %d questions x %d rollouts, %d turns of %d tokens, %d tokens of a document: %.1f s, %.0f tokens "+
		"sampled a second", shape,
		t.Questions, t.N, t.Turns, t.Response, t.Observation, row.Seconds, row.Useful)
	for _, part := range slices.Sorted(maps.Keys(row.Split)) {
		j.say("  %-10s %6.2f s", part, row.Split[part])
		j.values[part] = row.Split[part]
	}
	j.values["seconds"], j.values["tokens_per_second"], j.values["tflop"] = row.Seconds, row.Useful, row.TFLOP
	if gpu := known(gpuName(device)); gpu != "" {
		r, err := bench.MakeRoofline(bench.RooflineOptions{Options: bench.Options{Shape: shape, DType: kernels.BF16},
			GPU:     gpu,
			Context: 1024, Sequences: []int{64}, Step: stepTest})
		if err != nil {
			return err
		}
		j.say("zerosearch bench roofline expects %.1f s of an %s: %.0f%% of its speed was reached", r.Step.Seconds,
			strings.ToUpper(gpu), 100*r.Step.Seconds/row.Seconds)
		j.values["expected_seconds"] = r.Step.Seconds
	}
	return nil
}

// gpuName is the name of the GPU that is a device, "NVIDIA H200".
func gpuName(device string) string {
	for _, g := range devices.List().CUDA.GPUs {
		if fmt.Sprintf("%s:%d", devices.CUDA, g.Index) == device {
			return g.Name
		}
	}
	return ""
}

// known is a GPU of the roofline's table, or "".
func known(name string) string {
	for _, gpu := range []string{"h200", "h100", "a100"} {
		if strings.Contains(strings.ToLower(name), gpu) {
			return gpu
		}
	}
	return ""
}
