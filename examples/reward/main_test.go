package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/kernels/cpu"
	"github.com/zerosearch-go/zerosearch/rl"
	"github.com/zerosearch-go/zerosearch/rl/reward"
)

func TestThrifty(t *testing.T) {
	answer := "a red bell"
	search := reward.Turn{Action: "search"}
	require.InDelta(t, 0.9, thrifty(reward.Attempt{Answer: &answer, GoldenAnswers: []string{"red bell"},
		Turns: []reward.Turn{search, search}}), 1e-12)
	require.InDelta(t, -0.05, thrifty(reward.Attempt{Turns: []reward.Turn{search}}), 1e-12)
}

// The demo's policy, which searches, is rewarded by the program's function, and the run directory says so.
func TestTrain(t *testing.T) {
	dev, err := cpu.New(cpu.Options{})
	require.NoError(t, err)
	defer dev.Close()
	dir := t.TempDir()
	data := filepath.Join(dir, "q.jsonl")
	question := `{"id":"q","question":"who made the bell of Arel?","golden_answers":["Orin"]}` + "\n"
	require.NoError(t, os.WriteFile(data, []byte(question), 0o644))
	c := rl.Defaults()
	c.Policy.Model, c.Data.Data, c.Schedule.Out = "../../demo/models/policy", data, filepath.Join(dir, "run")
	c.Search.Mode, c.Rollout.BatchSize, c.Rollout.N, c.Schedule.TotalSteps = "none", 1, 2, 2
	c.Rollout.MaxResponse, c.Rollout.MaxContext, c.Rollout.MaxStart = 24, 256, 128
	var out bytes.Buffer
	require.NoError(t, train(t.Context(), dev, c, &out))
	require.Equal(t, 2, strings.Count(out.String(), "reward"), out.String())
	lines, err := os.ReadFile(filepath.Join(dir, "run", "episodes.jsonl"))
	require.NoError(t, err)
	require.Equal(t, 4, strings.Count(string(lines), "\n"))
	require.Contains(t, string(lines), `"reward":-0.`, "no answer, and searches that cost")
	require.DirExists(t, filepath.Join(dir, "run", "checkpoints", "step-2"))
}
