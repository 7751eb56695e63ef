package main

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/rl/rundir"
)

// A run that crosses a threshold saves the step and stops with an exit code of its own and the command that goes on; it
// then does the steps that are left, with the bits of a run that was never stopped.
func TestStopWhen(t *testing.T) {
	whole, out := filepath.Join(t.TempDir(), "whole"), filepath.Join(t.TempDir(), "run")
	args := func(out string, more ...string) []string {
		return trainArgs(t, out, append(more, "--total-steps", "4", "--save-every", "0")...)
	}
	mustRun(t, "", args(whole)...)
	code, stdout, stderr := zs("", args(out, "--stop-when", "likelihood,env/turns_per_episode>0")...)
	require.Equal(t, 3, code, stderr)
	require.Empty(t, stdout)
	require.Contains(t, stderr,
		"stopped after step 1 by --stop-when env/turns_per_episode>0: env/turns_per_episode is ")
	require.Contains(t, stderr, "the step is saved. To go on all the same:\n  zerosearch train --config ")
	require.NotContains(t, stderr, "error:")
	require.Equal(t, []int{1}, rundir.Steps(out))
	code, _, stderr = zs("", args(out, "--resume", "auto", "--stop-when", "search/taux>0")...)
	require.Zero(t, code, stderr)
	require.Contains(t, stderr, "--stop-when search/taux>0: step 2 has no such metric")
	sameRun(t, whole, out, "step-4")

	code, _, stderr = zs("", args(filepath.Join(t.TempDir(), "bad"), "--stop-when", "collapse")...)
	require.Equal(t, 2, code)
	require.Contains(t, stderr, `--stop-when: "collapse" is no rule: use likelihood, entropy, kl, valid-actions`)
}

// Where questions are held out, the policy is measured before the first step, which is step 0 of metrics.jsonl, and the
// best checkpoint is kept; --no-keep-best keeps none. A run that only has step 0 is no run yet.
func TestHeldOutDefaults(t *testing.T) {
	held := filepath.Join(t.TempDir(), "held.jsonl")
	require.NoError(t, os.WriteFile(held, []byte(questions()), 0o644))
	for name, kept := range map[string]bool{"": true, "--no-keep-best": false} {
		out := filepath.Join(t.TempDir(), "run")
		args := trainArgs(t, out, "--eval-data", held, "--eval-every", "1", "--total-steps", "2", "--save-every", "0")
		if name != "" {
			args = append(args, name)
		}
		_, stderr := mustRun2(t, args...)
		require.Contains(t, stderr, "step 0: held-out questions: f1 ")
		m := metricsOf(t, out)
		require.Len(t, m, 3)
		require.Contains(t, m[0], "val/all/f1")
		require.NotContains(t, m[0], "critic/score/mean")
		if runtime.GOOS != "windows" {
			_, err := os.Readlink(filepath.Join(out, "checkpoints/best"))
			require.Equal(t, kept, err == nil)
		}
	}
	out := filepath.Join(t.TempDir(), "begun")
	require.NoError(t, os.MkdirAll(out, 0o755))
	path := filepath.Join(out, "metrics.jsonl")
	require.NoError(t, os.WriteFile(path, []byte("{\"step\":0,\"val/all/f1\":7}\n"), 0o644))
	require.False(t, rundir.Holds(out))
	mustRun(t, "", trainArgs(t, out, "--total-steps", "1")...)
	require.Len(t, metricsOf(t, out), 1, "what was measured before is measured again, or not at all")
	require.True(t, rundir.Holds(out))
}

// An adapter has ten times the default learning rate, which is said and kept, unless the user chose one anywhere.
func TestLoRARate(t *testing.T) {
	args := func(out string, more ...string) []string {
		all := trainArgs(t, out, append(more, "--total-steps", "1", "--lora-r", "2")...)
		for i, a := range all {
			if a == "--lr" {
				return append(all[:i:i], all[i+2:]...)
			}
		}
		return all
	}
	rate := func(out string) any { return metricsOf(t, out)[0]["actor/lr"] }
	out := filepath.Join(t.TempDir(), "run")
	_, stderr := mustRun2(t, args(out)...)
	require.Contains(t, stderr, "note: the learning rate of the adapter is 1e-05, 10 times the default of all weights")
	require.Equal(t, 1e-5, rate(out))
	_, stderr = mustRun2(t, "train", "--config", filepath.Join(out, "config.yaml"), "--total-steps", "2", "--resume",
		"auto")
	require.NotContains(t, stderr, "learning rate")
	require.Equal(t, 1e-5, metricsOf(t, out)[1]["actor/lr"])
	t.Setenv("ZEROSEARCH_LR", "3e-4")
	other := filepath.Join(t.TempDir(), "other")
	_, stderr = mustRun2(t, args(other)...)
	require.NotContains(t, stderr, "learning rate")
	require.Equal(t, 3e-4, rate(other))
}

// mustRun2 gives standard error, too.
func mustRun2(t *testing.T, args ...string) (stdout, stderr string) {
	t.Helper()
	code, stdout, stderr := zs("", args...)
	require.Zero(t, code, stderr)
	return stdout, stderr
}

// A run with every option of reward, loss and credit is repeated bit for bit by verify, and its updates by a replay of
// its episodes; each part of its rewards and the F1 without them are metrics.
func TestShapedRun(t *testing.T) {
	dir := t.TempDir()
	run, again := filepath.Join(dir, "run"), filepath.Join(dir, "again")
	flags := []string{"--total-steps", "3", "--n", "4", "--train-batch-size", "4", "--reward", "format+f1",
		"--no-search-penalty", "0.1", "--no-answer-penalty", "0.2", "--search-penalty", "0.01", "--retrieval-bonus",
		"0.3",
		"--llds-coef", "0.2", "--ppo-mini-batch-size", "8", "--info-gain", "0.5"}
	mustRun(t, "", trainArgs(t, run, flags...)...)
	for _, m := range metricsOf(t, run) {
		sum := 0.0
		for _, part := range []string{"score", "format", "no_search", "no_answer", "search", "retrieval"} {
			require.Contains(t, m, "reward/part/"+part)
			sum += m["reward/part/"+part].(float64)
		}
		require.InDelta(t, m["critic/score/mean"], sum, 1e-9)
		for _, name := range []string{"reward/f1", "actor/llds_loss", "search/information_gain",
			"rollout/logprob_mean"} {
			require.Contains(t, m, name)
		}
	}
	require.Contains(t, mustRun(t, "", "verify", run), "every bit is compared")
	args := append(trainArgs(t, again, flags...), "--replay", filepath.Join(run, "episodes.jsonl"))
	mustRun(t, "", args...)
	weights := func(out string) string {
		text, err := os.ReadFile(filepath.Join(rundir.Checkpoint(out, 3), "model.safetensors"))
		require.NoError(t, err)
		return string(text)
	}
	require.True(t, weights(run) == weights(again))

	code, _, stderr := zs("", trainArgs(t, filepath.Join(dir, "bad"), "--llds-coef", "0.2")...)
	require.Equal(t, 2, code)
	require.Contains(t, stderr, "--llds-coef is of no use with one optimizer step in an update")
}
