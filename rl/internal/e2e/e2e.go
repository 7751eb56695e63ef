// Package e2e holds the golden of whole GRPO updates, for the tests of several packages.
package e2e

import (
	"embed"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/model"
	"github.com/zerosearch-go/zerosearch/rl/config"
	"github.com/zerosearch-go/zerosearch/safetensors"
)

//go:embed testdata
var files embed.FS

// Golden is the golden of a whole GRPO update in float64: rewards, advantages, three mini-batches, KL against a
// reference, clipping, AdamW.
type Golden struct {
	Config json.RawMessage `json:"model_config"`
	AdamW  struct {
		Betas []float64
		Eps   float64
		Decay float64 `json:"weight_decay"`
	}
	Minis       [][]int `json:"mini_batches"`
	Prompts     [][]int32
	Completions [][]int32
	Mask        [][]int
	Index       []int
	Rewards     [][]float64
	Variants    map[string]struct {
		Settings struct {
			Estimator   string
			Agg         string
			Low, High   float64
			KLCoef      float64 `json:"kl_coef"`
			KLInReward  float64 `json:"kl_in_reward"`
			NormStd     bool    `json:"norm_std"`
			Loss        string
			Ent         float64
			LR          []float64
			Clip        float64
			Temperature float64
		}
		OldLogp    [][]float64 `json:"old_logp"`
		Advantages [][]float64
		Steps      []struct {
			PGLoss   float64 `json:"pg_loss"`
			KLLoss   float64 `json:"kl_loss"`
			Entropy  float64
			GradNorm float64 `json:"grad_norm_before_clip"`
			Metrics  map[string]float64
		}
		Change map[string]float64 `json:"weights_after_3_steps"` // L2 norms, by parameter
	}
}

// Read reads the golden, a part of the whole set (see testdata/README.md).
func Read(t *testing.T) (g Golden) {
	data, err := files.ReadFile("testdata/e2e.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, &g))
	return g
}

// Folder makes a model folder of one of the golden's weights.
func (g Golden) Folder(t *testing.T, file string) string {
	dir := t.TempDir()
	weights, err := files.ReadFile("testdata/" + file)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "model.safetensors"), weights, 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "config.json"), withType(t, g.Config), 0o644))
	return dir
}

// RequireAfter3 compares a model with the golden's weights after three steps.
func RequireAfter3(t *testing.T, dev kernels.Device, m *model.Model) {
	raw, err := files.ReadFile("testdata/e2e_after3.safetensors")
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "after3.safetensors")
	require.NoError(t, os.WriteFile(path, raw, 0o644))
	after, err := safetensors.Open(path)
	require.NoError(t, err)
	defer after.Close()
	for _, p := range m.Params() {
		x, ok := after.Tensor(p.Name)
		require.True(t, ok, p.Name)
		want := make([]float32, x.Elements())
		require.NoError(t, x.Float32(want))
		got := make([]float32, len(want))
		require.NoError(t, kernels.Download(dev, got, p.Master))
		for i := range want {
			require.InDelta(t, want[i], got[i], 3e-6, "%s[%d] after three steps", p.Name, i)
		}
	}
}

func withType(t *testing.T, config json.RawMessage) []byte {
	var m map[string]any
	require.NoError(t, json.Unmarshal(config, &m))
	m["model_type"], m["architectures"] = "llama", []string{"LlamaForCausalLM"}
	b, err := json.Marshal(m)
	require.NoError(t, err)
	return b
}

// Episodes writes the golden's trajectories as another program would record them: what the update needs, and nothing
// else.
func (g Golden) Episodes(t *testing.T) string {
	var text strings.Builder
	for i, p := range g.Prompts {
		reward := 0.0
		for _, r := range g.Rewards[i] {
			reward += r
		}
		n := len(g.Completions[i])
		logprobs := make([]any, n)
		for k := range n {
			if g.Mask[i][k] != 0 {
				logprobs[k] = g.Variants["grpo"].OldLogp[i][k]
			}
		}
		line, err := json.Marshal(map[string]any{"step": 1, "group": g.Index[i], "rollout": i % 4, "prompt_ids": p,
			"reward": reward, "temperature": 1,
			"turns": []any{map[string]any{"ids": g.Completions[i], "mask": g.Mask[i][:n], "logprobs": logprobs}}})
		require.NoError(t, err)
		text.Write(append(line, '\n'))
	}
	file := filepath.Join(t.TempDir(), "episodes.jsonl")
	require.NoError(t, os.WriteFile(file, []byte(text.String()), 0o644))
	return file
}

// Settings is the golden's settings as flags.
func (g Golden) Settings(t *testing.T) config.Config {
	s := g.Variants["grpo"].Settings
	return config.Config{
		Policy: config.Policy{Model: g.Folder(t, "e2e_init.safetensors"),
			RefModel: g.Folder(t, "e2e_ref.safetensors"), DType: "f32"},
		Search: config.Search{TopK: 5},
		Rollout: config.Rollout{BatchSize: 2, N: 4, MaxResponse: 14, MaxStart: 10, MaxContext: 64, Temperature: 1,
			TopP: 1},
		Algo: config.Algo{Algo: s.Estimator, Reward: "f1", ClipLow: s.Low, ClipHigh: s.High, DualClip: 3,
			KLCoef: s.KLCoef, EntropyCoef: s.Ent, LossAgg: s.Agg},
		Optim: config.Optim{LR: 1, Betas: g.AdamW.Betas, Eps: g.AdamW.Eps, WeightDecay: g.AdamW.Decay,
			MaxGradNorm: s.Clip, LRSchedule: "constant", MicroBatchTokens: 64},
		Critic:   config.Critic{LR: 1e-5},
		Schedule: config.Schedule{TotalSteps: 203, Seed: 1},
	}
}
