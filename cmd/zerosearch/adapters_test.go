package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A simulator or reference that is an adapter of another base than the policy's has its own base, though the shapes
// agree: in training, where the policy has an adapter or not, and in eval.
func TestAdaptersOfAnotherBase(t *testing.T) {
	dir := t.TempDir()
	other, adapter := filepath.Join(dir, "other"), filepath.Join(dir, "adapter/checkpoints/step-2")
	require.NoError(t, tinyModel(other, 3, true))
	mustRun(t, "", trainArgs(t, filepath.Join(dir, "adapter"), "--model", other, "--total-steps", "2", "--lora-r", "2",
		"--lr", "3e-2", "--save-every", "0")...)
	episodes := func(name string, flags ...string) string {
		out := filepath.Join(dir, name)
		mustRun(t, "", trainArgs(t, out, append([]string{"--total-steps", "1", "--save-every", "0", "--n", "4"},
			flags...)...)...)
		text, err := os.ReadFile(filepath.Join(out, "episodes.jsonl"))
		require.NoError(t, err)
		return string(text)
	}
	simulated := []string{"--search-mode", "simulate_sft", "--simulation-max-tokens", "8", "--simulation-temperature",
		"0.01", "--simulation-llm"}
	whole := episodes("whole", append(simulated, adapter)...) // weights of its own in any case
	require.Equal(t, whole, episodes("lora", append(simulated, adapter, "--lora-r", "2")...),
		"a fresh adapter changes nothing")
	require.NotEqual(t, whole, episodes("same", append(simulated, "same", "--lora-r", "2")...))

	kl := func(name string, flags ...string) any {
		episodes(name, append([]string{"--kl-coef", "0.1", "--ref-model", adapter}, flags...)...)
		return metricsOf(t, filepath.Join(dir, name))[0]["actor/kl_loss"]
	}
	require.InDelta(t, kl("kl-whole"), kl("kl-lora", "--lora-r", "2"), 1e-6)

	plan := func(simulator string) string {
		return mustRun(t, "", trainArgs(t, filepath.Join(dir, "plan"), append(simulated, simulator, "--lora-r", "2",
			"--dry-run")...)...)
	}
	own, err := taughtModel()
	require.NoError(t, err)
	over := filepath.Join(dir, "over/checkpoints/step-1")
	mustRun(t, "", trainArgs(t, filepath.Join(dir, "over"), "--model", own, "--total-steps", "1", "--lora-r", "2",
		"--save-every", "0")...)
	require.Equal(t, 2, strings.Count(plan(adapter), " weights  "), plan(adapter))
	require.Equal(t, 1, strings.Count(plan(over), " weights  "), plan(over))
	reference := func(name string) string {
		return mustRun(t, "", trainArgs(t, filepath.Join(dir, "plan"), "--kl-coef", "0.1", "--ref-model", name,
			"--lora-r", "2",
			"--dry-run")...)
	}
	require.Equal(t, 2, strings.Count(reference(adapter), " weights  "), reference(adapter))
	require.Equal(t, 1, strings.Count(reference(over), " weights  "), reference(over))
	require.InDelta(t, kl("kl-over", "--ref-model", over, "--lora-r", "2"), kl("kl-over-whole", "--ref-model", over),
		1e-6)
}

// A checkpoint of LoRA is used from another working directory than it was trained in, and after it was moved together
// with its base.
func TestAdapterFindsItsBase(t *testing.T) {
	dir := t.TempDir()
	before, after := filepath.Join(dir, "before"), filepath.Join(dir, "after")
	taught, err := taughtModel()
	require.NoError(t, err)
	require.NoError(t, os.CopyFS(filepath.Join(before, "base"), os.DirFS(taught)))
	t.Chdir(before)
	mustRun(t, "", trainArgs(t, "runs/lora", "--model", "base", "--total-steps", "1", "--lora-r", "2", "--lr", "3e-2",
		"--save-every", "0")...)
	mustRun(t, "", trainArgs(t, "runs/more", "--model", "base", "--adapter", "runs/lora/checkpoints/step-1",
		"--total-steps", "1", "--save-every", "0")...)
	score := func(model string) (stdout, stderr string) {
		code, out, log := zs(`{"ids":[1,2,3,4]}`+"\n", "score", "--dtype", "f32", "--model", model)
		require.Zero(t, code, log)
		return out, log
	}
	lora, log := score("runs/lora")
	require.NotContains(t, log, "note:")
	more, _ := score("runs/more")
	require.NotEqual(t, lora, more)
	t.Chdir(dir)
	for run, want := range map[string]string{"lora": lora, "more": more} {
		got, log := score("before/runs/" + run)
		require.Equal(t, want, got)
		require.NotContains(t, log, "note:")
	}
	require.NoError(t, os.Rename(before, after))
	got, log := score("after/runs/lora")
	require.Equal(t, lora, got)
	require.Contains(t, log, "note: adapter after/runs/lora/checkpoints/step-1: its base "+
		"\""+filepath.ToSlash(filepath.Join(before, "base"))+"\" is not there, ")
	require.NoError(t, os.RemoveAll(filepath.Join(after, "base")))
	code, _, log := zs(`{"ids":[1,2]}`+"\n", "score", "--model", "after/runs/lora")
	require.Equal(t, 1, code)
	require.Contains(t, log, "is neither there, seen from the working directory, nor in the folder of the adapter or "+
		"one above it")
}

// What is odd in a checkpoint is said by every verb that opens it, once.
func TestNotesOnCheckpoints(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "m")
	taught, err := taughtModel()
	require.NoError(t, err)
	require.NoError(t, os.CopyFS(dir, os.DirFS(taught)))
	config := filepath.Join(dir, "config.json")
	text, err := os.ReadFile(config)
	require.NoError(t, err)
	odd := strings.Replace(string(text), "{",
		`{"attention_dropout": NaN, "odd_key": [Infinity], "rope_parameters": {"factor": 2},`+
			` "original_max_position_embeddings": null,`, 1)
	odd = strings.Replace(odd, `"rope_scaling": null`, `"rope_scaling": {"type": "default"}`, 1)
	require.NoError(t, os.WriteFile(config, []byte(odd), 0o644))
	notes := []string{"note: " + config + ": it has both rope_scaling and rope_parameters",
		"note: " + config + ": odd_key: no class of transformers 5 computes with it"}
	out := t.TempDir()
	questions, rows := trainArgs(t, ""), filepath.Join(out, "rows.jsonl")
	require.NoError(t, os.WriteFile(rows, []byte(`{"prompt":"a","completion":"b"}`), 0o644))
	for name, c := range map[string]struct {
		stdin string
		args  []string
	}{
		"score":    {`{"ids":[1,2,3]}` + "\n", []string{"score", "--model", dir}},
		"generate": {`{"ids":[1,2,3]}` + "\n", []string{"generate", "--model", dir, "--max-tokens", "1"}},
		"plan":     {"", []string{"plan", "--model", dir}},
		"quantize": {"", []string{"quantize", "--model", dir, "--out", filepath.Join(out, "q8")}},
		"sft":      {"", []string{"sft", "--model", dir, "--data", rows, "--out", filepath.Join(out, "sft")}},
		"train":    {"", trainArgs(t, filepath.Join(out, "train"), "--model", dir, "--total-steps", "1")},
		"eval": {"", []string{"eval", "--model", dir, "--data", questions[4], "--limit", "1", "--max-turns", "1",
			"--max-response-length", "4", "--search-mode", "simulate_sft", "--simulation-max-tokens", "2"}},
	} {
		code, _, log := zs(c.stdin, c.args...)
		require.Zero(t, code, "%s: %s", name, log)
		for _, note := range notes {
			require.Equal(t, 1, strings.Count(log, note), "%s: %s", name, log)
		}
	}
	text, err = os.ReadFile(filepath.Join(out, "train/checkpoints/step-1/config.json"))
	require.NoError(t, err)
	require.Contains(t, string(text), `"attention_dropout": NaN`)
}
