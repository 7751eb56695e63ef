package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// self is a command that runs this program, in a process of its own.
func self(dir string, args ...string) *exec.Cmd {
	exe, err := os.Executable()
	if err != nil {
		panic(err)
	}
	c := exec.Command(exe, args...)
	c.Dir = dir
	c.Env = append(os.Environ(), mainEnv+"=1")
	return c
}

// trainArgs is a run of a few seconds that saves at every step.
func trainArgs(t *testing.T, out string, more ...string) []string {
	model, err := taughtModel()
	require.NoError(t, err)
	q := filepath.Join(t.TempDir(), "q.jsonl")
	require.NoError(t, os.WriteFile(q, []byte(questions()), 0o644))
	corpus := filepath.Join(t.TempDir(), "corpus.jsonl")
	require.NoError(t, os.WriteFile(corpus, []byte(`{"contents":"a is Ax"}`), 0o644))
	return append([]string{"train", "--model", model, "--data", q, "--out", out, "--total-steps", "5",
		"--train-batch-size", "2", "--n", "3", "--max-turns", "1",
		"--max-response-length", "8", "--search-mode", "bm25", "--corpus", corpus, "--lr", "1e-3", "--dtype", "f32",
		"--save-every", "1"}, more...)
}

// sameRun requires that two run directories hold the same last checkpoint and the same episodes, byte for byte, and the
// same metrics, timings apart.
func sameRun(t *testing.T, a, b string, step string) {
	t.Helper()
	for _, name := range []string{"episodes.jsonl", step + "/model.safetensors", step + "/optimizer.safetensors",
		step + "/trainer_state.json", step + "/config.json"} {
		if strings.HasPrefix(name, "step") {
			name = "checkpoints/" + name
		}
		x, err := os.ReadFile(filepath.Join(a, name))
		require.NoError(t, err)
		y, err := os.ReadFile(filepath.Join(b, name))
		require.NoError(t, err)
		require.True(t, string(x) == string(y), "%s differs", name)
	}
	require.Equal(t, metricsOf(t, a), metricsOf(t, b))
}

// metricsOf reads metrics.jsonl without what a clock had a hand in.
func metricsOf(t *testing.T, dir string) (out []map[string]any) {
	text, err := os.ReadFile(filepath.Join(dir, "metrics.jsonl"))
	require.NoError(t, err)
	for _, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		var m map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &m))
		for k := range m {
			if strings.HasPrefix(k, "timing_s/") || strings.HasPrefix(k, "perf/") {
				delete(m, k)
			}
		}
		out = append(out, m)
	}
	return out
}

// A run that is killed while it writes a checkpoint, again and again, and resumed each time, ends with the bits of one
// that never was.
func TestKilledWhileSaving(t *testing.T) {
	whole := filepath.Join(t.TempDir(), "whole")
	mustRun(t, "", trainArgs(t, whole)...)
	var broken string
	hit := 0
	for attempt := 0; attempt < 5 && hit == 0; attempt++ { // on a busy machine every kill may come after the saving
		broken = filepath.Join(t.TempDir(), "broken")
		hit = killSaving(t, broken)
	}
	require.NotZero(t, hit, "no checkpoint was being written when the run was killed")
	t.Logf("killed %d times", hit)
	sameRun(t, whole, broken, "step-5")
	left, err := filepath.Glob(filepath.Join(broken, "checkpoints", ".*"))
	require.NoError(t, err)
	require.Empty(t, left, "what a killed attempt left behind is cleared away")
}

// killSaving kills the run broken while it saves step 1, then step 2, and so on until it ends; it returns how often it
// came in time.
func killSaving(t *testing.T, broken string) (hit int) {
	args := trainArgs(t, broken, "--resume", "auto")
	for step := 1; ; step++ {
		c := self(".", args...)
		require.NoError(t, c.Start())
		ended := make(chan error, 1)
		go func() { ended <- c.Wait() }()
		writing := filepath.Join(broken, "checkpoints", fmt.Sprintf(".writing-step-%d", step))
		if !killAtWriting(c, writing, time.Duration(step-1)*500*time.Microsecond, ended) {
			require.NoError(t, <-ended)
			return hit
		}
		if exists(writing) {
			hit++
		}
	}
}

// killAtWriting kills c a while after the folder writing has appeared; false: c ended before.
func killAtWriting(c *exec.Cmd, writing string, after time.Duration, ended chan error) bool {
	for {
		select {
		case err := <-ended:
			ended <- err
			return false
		default:
		}
		if exists(writing) {
			time.Sleep(after)
			c.Process.Kill()
			<-ended
			return true
		}
		time.Sleep(50 * time.Microsecond)
	}
}

// Nothing a run writes depends on threads, on how many episodes are in flight, or on the number of rollouts computed
// together; and what was sampled is what is trained on, exactly, at both types.
func TestSameBits(t *testing.T) {
	for _, dtype := range []string{"f32", "bf16"} {
		a, b := filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")
		same := []string{"--save-every", "0", "--total-steps", "2", "--dtype", dtype, "--n", "4", "--lora-r", "2",
			"--search-mode", "simulate_sft", "--simulation-max-tokens", "4"}
		mustRun(t, "", trainArgs(t, a, append(same, "--threads", "2")...)...)
		mustRun(t, "", trainArgs(t, b, append(same, "--threads", "1", "--concurrency", "2")...)...)
		for _, name := range []string{"episodes.jsonl", "checkpoints/step-2/adapter_model.safetensors",
			"checkpoints/step-2/optimizer.safetensors"} {
			x, err := os.ReadFile(filepath.Join(a, name))
			require.NoError(t, err)
			y, err := os.ReadFile(filepath.Join(b, name))
			require.NoError(t, err)
			require.True(t, string(x) == string(y), "%s differs at %s", name, dtype)
		}
		for _, m := range metricsOf(t, a) {
			require.Zero(t, m["rollout/logprob_diff_max"], dtype)
			require.NotZero(t, m["actor/trained_tokens"])
		}
	}
}

// The golden of a whole GRPO update, from an episodes.jsonl and the plan in the YAML, for a model without a tokenizer.
func TestReplayFromTheCommandLine(t *testing.T) {
	var g struct {
		Config      map[string]any `json:"model_config"`
		Minis       [][]int        `json:"mini_batches"`
		Prompts     [][]int32
		Completions [][]int32
		Mask        [][]int
		Index       []int
		Rewards     [][]float64
		Variants    map[string]struct {
			OldLogp [][]float64 `json:"old_logp"`
			Steps   []struct {
				PGLoss   float64 `json:"pg_loss"`
				GradNorm float64 `json:"grad_norm_before_clip"`
			}
		}
	}
	text, err := os.ReadFile("../../rl/internal/e2e/testdata/e2e.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &g))
	dir := t.TempDir()
	g.Config["model_type"], g.Config["architectures"] = "llama", []string{"LlamaForCausalLM"}
	config, _ := json.Marshal(g.Config)
	for _, name := range []string{"init", "ref"} {
		require.NoError(t, os.CopyFS(filepath.Join(dir, name), os.DirFS(t.TempDir())))
		weights, err := os.ReadFile("../../rl/internal/e2e/testdata/e2e_" + name + ".safetensors")
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, name, "model.safetensors"), weights, 0o644))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name, "config.json"), config, 0o644))
	}
	var lines strings.Builder
	for i, p := range g.Prompts {
		reward := 0.0
		for _, r := range g.Rewards[i] {
			reward += r
		}
		n := len(g.Completions[i])
		line, err := json.Marshal(map[string]any{"step": 1, "group": g.Index[i], "prompt_ids": p, "reward": reward,
			"temperature": 1, "status": "answered",
			"turns": []any{map[string]any{"ids": g.Completions[i], "mask": g.Mask[i][:n],
				"logprobs": g.Variants["grpo"].OldLogp[i][:n]}}})
		require.NoError(t, err)
		lines.WriteString(string(line) + "\n")
	}
	episodes, yaml, out := filepath.Join(dir, "episodes.jsonl"), filepath.Join(dir, "run.yaml"),
		filepath.Join(dir, "out")
	require.NoError(t, os.WriteFile(episodes, []byte(lines.String()), 0o644))
	require.NoError(t,
		os.WriteFile(yaml,
			[]byte("clip-high: 0.28\nkl_coef: 0.04\nentropy-coef: 0.001\nmax-grad-norm: 0.5\nbetas: [0.9, 0.999]\n"+
				"replay: {mini_batches: [[0,1,2,3],[4,5,6,7],[0,1,2,3]], lr: [3.0e-4, 3.0e-4, 1.5e-4]}\n"), 0o644))
	mustRun(t, "", "train", "--config", yaml, "--replay", episodes, "--model", filepath.Join(dir, "init"),
		"--ref-model", filepath.Join(dir, "ref"), "--dtype", "f32", "--out", out)
	steps := g.Variants["grpo"].Steps
	got := metricsOf(t, out)
	require.Len(t, got, len(steps))
	for i, m := range got {
		require.InDelta(t, steps[i].PGLoss, m["actor/pg_loss"], 2e-5)
		require.InEpsilon(t, steps[i].GradNorm, m["actor/grad_norm"], 2e-5)
	}
	saved, err := os.ReadFile(filepath.Join(out, "config.yaml"))
	require.NoError(t, err)
	require.Contains(t, string(saved), "mini_batches")
	again := filepath.Join(dir, "again")
	// the saved configuration is the whole command
	mustRun(t, "", "train", "--config", filepath.Join(out, "config.yaml"), "--out", again)
	sameRunWeights(t, out, again)
}

func sameRunWeights(t *testing.T, a, b string) {
	x, err := os.ReadFile(filepath.Join(a, "checkpoints/step-3/optimizer.safetensors"))
	require.NoError(t, err)
	y, err := os.ReadFile(filepath.Join(b, "checkpoints/step-3/optimizer.safetensors"))
	require.NoError(t, err)
	require.True(t, string(x) == string(y))
}
