package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every algorithm runs from the command line, and moves the weights.
func TestEveryAlgorithm(t *testing.T) {
	start, err := taughtModel()
	require.NoError(t, err)
	before, err := os.ReadFile(filepath.Join(start, "model.safetensors"))
	require.NoError(t, err)
	for _, name := range []string{"grpo", "dr_grpo", "dapo", "gspo", "cispo", "sapo", "rloo", "opo", "gpg", "reinforce",
		"reinforce++", "reinforce++-baseline", "ppo"} {
		t.Run(name, func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "run")
			mustRun(t, "", trainArgs(t, out, "--algo", name, "--total-steps", "2", "--n", "4", "--save-every", "0",
				"--ppo-mini-batch-size", "4")...)
			after, err := os.ReadFile(filepath.Join(out, "checkpoints/step-2/model.safetensors"))
			require.NoError(t, err)
			require.NotEqual(t, string(before), string(after))
			for _, m := range metricsOf(t, out) {
				require.Zero(t, m["rollout/logprob_diff_max"])
				require.Zero(t, m["actor/skipped_updates"])
			}
		})
	}
}

// PPO: critic and policy learn, nothing depends on threads, a run resumed is the run itself, whatever of the critic is
// trained.
func TestPPO(t *testing.T) {
	for name, flags := range map[string][]string{
		"all":  {"--kl-target", "0.01", "--kl-horizon", "50", "--critic-warmup", "1", "--ppo-epochs", "2"},
		"lora": {"--lora-r", "2", "--kl-in", "loss", "--kl-type", "k2"},
		"head": {"--critic-train", "head", "--entropy-coef", "0.01", "--gamma", "0.99", "--lam", "0.95"},
		"bf16": {"--critic-train", "head", "--lora-r", "2", "--dtype", "bf16", "--reference", "ema:0.9"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			args := func(out string, more ...string) []string {
				return trainArgs(t, filepath.Join(dir, out),
					append(append([]string{"--algo", "ppo", "--total-steps", "3", "--ppo-mini-batch-size", "4",
						"--critic-lr", "1e-2"}, flags...), more...)...)
			}
			mustRun(t, "", args("whole", "--threads", "1")...)
			mustRun(t, "", args("parts", "--threads", "2")...)
			require.NoError(t, os.RemoveAll(filepath.Join(dir, "parts/checkpoints/step-3")))
			require.NoError(t, os.RemoveAll(filepath.Join(dir, "parts/checkpoints/step-2")))
			mustRun(t, "", args("parts", "--resume", "auto", "--concurrency", "1")...)
			sameTree(t, filepath.Join(dir, "whole/checkpoints/step-3"), filepath.Join(dir, "parts/checkpoints/step-3"))
			require.Equal(t, metricsOf(t, filepath.Join(dir, "whole")), metricsOf(t, filepath.Join(dir, "parts")))
			require.FileExists(t, filepath.Join(dir, "whole/checkpoints/step-3/critic/value_head.safetensors"))
			for i, m := range metricsOf(t, filepath.Join(dir, "whole")) {
				for _, key := range []string{"critic/vf_loss", "critic/vf_clipfrac", "critic/vpred_mean",
					"critic/grad_norm", "critic/lr", "critic/values/mean",
					"critic/returns/mean", "critic/advantages/mean", "critic/vf_explained_var", "critic/rewards/mean",
					"actor/lr"} {
					require.Contains(t, m, key)
				}
				if i == 0 {
					require.Zero(t, m["critic/values/mean"], "a new critic knows nothing")
					if name == "all" {
						require.NotContains(t, m, "actor/pg_loss", "warm-up")
						continue
					}
				}
				require.Contains(t, m, "actor/pg_loss")
			}
		})
	}
}

// sameTree requires that two folders hold the same files, byte for byte.
func sameTree(t *testing.T, a, b string) {
	t.Helper()
	n := 0
	require.NoError(t, filepath.Walk(a, func(path string, st os.FileInfo, err error) error {
		require.NoError(t, err)
		if st.IsDir() {
			return nil
		}
		n++
		rel, _ := filepath.Rel(a, path)
		x, err := os.ReadFile(path)
		require.NoError(t, err)
		y, err := os.ReadFile(filepath.Join(b, rel))
		require.NoError(t, err)
		require.True(t, string(x) == string(y), "%s differs", rel)
		return nil
	}))
	require.Greater(t, n, 2)
}

// A critic goes on from a checkpoint, and one that reads ids as other text is refused.
func TestCriticModel(t *testing.T) {
	dir := t.TempDir()
	out := filepath.Join(dir, "a")
	ppo := []string{"--algo", "ppo", "--total-steps", "1", "--critic-lr", "1e-2"}
	mustRun(t, "", trainArgs(t, out, ppo...)...)
	critic := filepath.Join(out, "checkpoints/step-1/critic")
	b := filepath.Join(dir, "b")
	mustRun(t, "", trainArgs(t, b, append(ppo, "--critic-model", critic)...)...)
	require.NotZero(t, metricsOf(t, b)[0]["critic/values/mean"], "it has learned before")

	other := filepath.Join(dir, "other")
	require.NoError(t, tinyModel(other, 3, true))
	text, err := os.ReadFile(filepath.Join(other, "tokenizer.json"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(other, "tokenizer.json"),
		[]byte(strings.Replace(string(text), "/information", "/document", 1)), 0o644))
	code, _, stderr := zs("", trainArgs(t, filepath.Join(dir, "c"), append(ppo, "--critic-model", other)...)...)
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "opening the critic: ")
	require.Contains(t, stderr, `its token 266 is "</document>", the policy's "</information>": they must share one`)
	code, _, stderr = zs("", trainArgs(t, filepath.Join(dir, "d"), append(ppo, "--critic-train", "lora")...)...)
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "add --lora-r")
}

// What the KL term is measured from: at the first step the KL is 0 if the reference is the policy's start, and
// only then.
func TestReferences(t *testing.T) {
	dir := t.TempDir()
	mustRun(t, "", trainArgs(t, filepath.Join(dir, "adapter"), "--total-steps", "3", "--lora-r", "2", "--lr", "3e-2",
		"--save-every", "0")...)
	adapter := filepath.Join(dir, "adapter/checkpoints/step-3")
	other := filepath.Join(dir, "other")
	require.NoError(t, tinyModel(other, 3, true))
	divergence := func(name string, flags ...string) []float64 {
		out := filepath.Join(dir, name)
		mustRun(t, "",
			trainArgs(t, out,
				append([]string{"--total-steps", "3", "--n", "4", "--kl-coef", "0.1", "--entropy-coef", "0.01", "--lr",
					"1e-2", "--save-every", "0"}, flags...)...)...)
		var kl []float64
		for _, m := range metricsOf(t, out) {
			kl = append(kl, m["actor/kl_loss"].(float64))
		}
		return kl
	}
	frozen := divergence("frozen")
	require.Zero(t, frozen[0])
	require.NotZero(t, frozen[1])
	require.NotZero(t, frozen[2])
	average := divergence("average", "--reference", "ema:0.5")
	require.Equal(t, 0.0, average[0])
	require.NotZero(t, average[1])
	require.Less(t, average[1], frozen[1], "it has come after the policy")
	require.NotZero(t, divergence("model", "--ref-model", other)[0])
	require.Zero(t, divergence("none", "--reference", "none", "--kl-coef", "0")[2])

	started := divergence("started", "--adapter", adapter)
	require.Zero(t, started[0], "a frozen copy of the adapter")
	require.NotZero(t, started[1])
	require.NotZero(t, divergence("off", "--adapter", adapter, "--reference", "adapters-off")[0])
	require.Zero(t, divergence("folder", "--model", adapter)[0], "an adapter's folder is a policy as well")
	following := divergence("following", "--adapter", adapter, "--reference", "ema:0.5")
	require.Zero(t, following[0])
	require.NotZero(t, following[1])
	require.Less(t, following[1], started[1])
}

// The simulator as an adapter over the policy's base, as that base with adapters off, and as a checkpoint of its own.
func TestSimulators(t *testing.T) {
	dir := t.TempDir()
	mustRun(t, "", trainArgs(t, filepath.Join(dir, "adapter"), "--total-steps", "2", "--lora-r", "2", "--lr", "3e-2",
		"--save-every", "0")...)
	adapter := filepath.Join(dir, "adapter/checkpoints/step-2")
	own, err := taughtModel()
	require.NoError(t, err)
	documents := func(name string, flags ...string) string {
		out := filepath.Join(dir, name)
		mustRun(t, "",
			trainArgs(t, out,
				append([]string{"--total-steps", "1", "--save-every", "0", "--n", "4", "--search-mode", "simulate_sft",
					"--simulation-max-tokens", "8", "--simulation-temperature", "0.01"}, flags...)...)...)
		text, err := os.ReadFile(filepath.Join(out, "episodes.jsonl"))
		require.NoError(t, err)
		return string(text)
	}
	same := documents("same", "--adapter", adapter)
	require.Equal(t, same, documents("own", "--adapter", adapter, "--simulation-llm", own),
		"adapters off is the base itself")
	require.NotEqual(t, same, documents("shared", "--adapter", adapter, "--simulation-llm", adapter))
	require.Equal(t, documents("whole", "--simulation-llm", own), documents("copy"),
		"and in full fine-tuning the starting weights")
}

// The updates of a run with a critic, an averaged reference and an overlong penalty, from its episodes alone.
func TestReplayOfPPO(t *testing.T) {
	dir := t.TempDir()
	flags := []string{"--algo", "ppo", "--total-steps", "3", "--n", "4", "--critic-lr", "1e-2", "--reference",
		"ema:0.9", "--kl-target", "0.01", "--overlong-buffer", "12", "--overlong-limit", "14",
		"--ppo-mini-batch-size", "4", "--critic-warmup", "1"}
	mustRun(t, "", trainArgs(t, filepath.Join(dir, "run"), flags...)...)
	mustRun(t, "", trainArgs(t, filepath.Join(dir, "again"),
		append(flags, "--replay", filepath.Join(dir, "run/episodes.jsonl"))...)...)
	for _, name := range []string{"model.safetensors", "optimizer.safetensors", "reference.safetensors",
		"critic/optimizer.safetensors", "critic/value_head.safetensors"} {
		a, err := os.ReadFile(filepath.Join(dir, "run/checkpoints/step-3", name))
		require.NoError(t, err)
		b, err := os.ReadFile(filepath.Join(dir, "again/checkpoints/step-3", name))
		require.NoError(t, err)
		require.True(t, string(a) == string(b), "%s differs", name)
	}
	first := metricsOf(t, filepath.Join(dir, "run"))[0]
	require.Less(t, first["critic/rewards/mean"], first["critic/score/mean"],
		"the penalty is in what is learned from, not in the score")
}
