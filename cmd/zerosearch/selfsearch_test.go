package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// With --simulation-llm policy the documents of a step are written by the policy's weights, or by its adapter, as they
// are in that step: a run that goes on from a step's checkpoint, with that checkpoint as a simulator of its own, writes
// the same episodes in the next step, byte for byte. The starting weights write others.
func TestSelfSearch(t *testing.T) {
	for name, flags := range map[string][]string{"all weights": {"--lr", "1e-3"},
		"adapter": {"--lora-r", "2", "--lr", "1e-2"}} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			args := func(out, simulator string, more ...string) []string {
				all := append([]string{"--total-steps", "2", "--n", "4", "--train-batch-size", "4",
					"--search-mode", "simulate_sft", "--simulation-max-tokens", "8", "--simulation-temperature", "4",
					"--simulation-llm", simulator, "--kl-coef", "0"}, flags...)
				return trainArgs(t, filepath.Join(dir, out), append(all, more...)...)
			}
			lines := func(out, step string) (found []string) {
				text, err := os.ReadFile(filepath.Join(dir, out, "episodes.jsonl"))
				require.NoError(t, err)
				for line := range strings.Lines(string(text)) {
					if strings.HasPrefix(line, `{"step":`+step+",") {
						found = append(found, line)
					}
				}
				require.Len(t, found, 16)
				return found
			}
			mustRun(t, "", args("policy", "policy")...)
			mustRun(t, "", args("same", "same")...)
			require.Equal(t, lines("same", "1"), lines("policy", "1"), "in the first step they are one")
			require.Contains(t, strings.Join(lines("policy", "2"), ""), `"quality":`)

			first := filepath.Join(dir, "policy/checkpoints/step-1")
			resume := []string{"--resume", first, "--force", "--dtype", "f32"}
			mustRun(t, "", args("checkpoint", first, resume...)...)
			require.Equal(t, lines("policy", "2"), lines("checkpoint", "2"))
			mustRun(t, "", args("start", "same", resume...)...)
			require.NotEqual(t, lines("policy", "2"), lines("start", "2"))
			mustRun(t, "", "verify", filepath.Join(dir, "policy"))
		})
	}
	code, _, stderr := zs("", trainArgs(t, filepath.Join(t.TempDir(), "bad"), "--search-mode", "simulate_sft",
		"--simulation-llm", "policy", "--sim-dtype", "bf16")...)
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "--simulation-llm policy is the policy's own weights: leave --sim-device and --sim-dtype")
}
