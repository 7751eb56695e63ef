package main

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/cpu"
	"github.com/zerosearch-go/zerosearch/model"
	"github.com/zerosearch-go/zerosearch/rl/roles"
)

// paddedModel is a folder of random weights whose embedding has more rows than the tokenizer has tokens, and whose
// tokenizer has a hole.
func paddedModel(t *testing.T) (dir string, hasToken func(id int32) bool) {
	dir = filepath.Join(t.TempDir(), "padded")
	require.NoError(t, tinyModel(dir, 7, true)) // 272 rows
	var file map[string]any
	require.NoError(t, json.Unmarshal(tinyTokenizer(), &file))
	vocab := file["model"].(map[string]any)["vocab"].(map[string]any)
	maps.DeleteFunc(vocab, func(_ string, id any) bool { return id == float64(200) })
	text, err := json.Marshal(file)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "tokenizer.json"), text, 0o644))
	return dir, func(id int32) bool { return id >= 0 && id < 266 && id != 200 }
}

// Ids that stand for no token are sampled by nobody: generate, serve, the rollouts of train; and whoever copies or
// opens a model for another role knows them.
func TestPaddedRowsAreNeverSampled(t *testing.T) {
	dir, hasToken := paddedModel(t)
	sampled := 0
	check := func(ids []int32) {
		t.Helper()
		sampled += len(ids)
		for _, id := range ids {
			require.True(t, hasToken(id), "id %d stands for no token", id)
		}
	}
	requests := strings.Repeat(`{"text":"ab"}`+"\n", 60)
	lines := mustRun(t, requests, "generate", "--model", dir, "--temperature", "2", "--max-tokens", "60", "--seed", "1")
	for line := range strings.Lines(lines) {
		var out struct{ IDs []int32 }
		require.NoError(t, json.Unmarshal([]byte(line), &out))
		check(out.IDs)
	}

	url := startServer(t, ".", []string{"serve", "--model", dir, "--port", "0", "--json"})
	served := servedIDs(t, url, `"prompt":"ab","temperature":2,"max_tokens":60,"n":20,"seed":1,"ignore_eos":true`)
	require.Len(t, served, 20)
	for _, ids := range served {
		check(ids)
	}

	out := filepath.Join(t.TempDir(), "run")
	mustRun(t, "", trainArgs(t, out, "--model", dir, "--n", "8", "--max-response-length", "40", "--total-steps",
		"2")...)
	episodes, err := os.ReadFile(filepath.Join(out, "episodes.jsonl"))
	require.NoError(t, err)
	for line := range bytes.Lines(episodes) {
		var e struct {
			Turns []struct{ IDs, Mask []int32 }
		}
		require.NoError(t, json.Unmarshal(line, &e))
		for _, turn := range e.Turns {
			for i, on := range turn.Mask {
				if on == 1 {
					check(turn.IDs[i : i+1])
				}
			}
		}
	}
	metrics, err := os.ReadFile(filepath.Join(out, "metrics.jsonl"))
	require.NoError(t, err)
	require.Equal(t, 2, strings.Count(string(metrics), `"rollout/logprob_diff_max":0,`), "%s", metrics)
	require.Greater(t, sampled, 3000, "of 272 ids, 7 stand for no token")

	dev, err := cpu.New(cpu.Options{})
	require.NoError(t, err)
	defer dev.Close()
	p, err := roles.Open(t.Context(), dev, roles.OpenOptions{Model: dir})
	require.NoError(t, err)
	defer p.Close()
	require.Equal(t, []int32{200, 266, 267, 268, 269, 270, 271}, p.Model.NoToken)
	c, err := p.Model.Clone(model.Options{DType: kernels.Q8})
	require.NoError(t, err)
	defer c.Close()
	require.Equal(t, p.Model.NoToken, c.NoToken)
}
