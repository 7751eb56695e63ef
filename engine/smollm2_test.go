package engine

import (
	"encoding/json"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/internal/goldens"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/model"
)

// smollm2 loads SmolLM2-135M-Instruct from $ZEROSEARCH_SMOLLM2 and starts an engine on it.
func smollm2(t testing.TB, dtype kernels.DType, o ModelOptions) *Engine {
	dir := os.Getenv("ZEROSEARCH_SMOLLM2")
	if dir == "" {
		t.Skip("set ZEROSEARCH_SMOLLM2 to a folder with SmolLM2-135M-Instruct")
	}
	dev := open(t, "cpu", 0)
	m, err := model.Load(dev, dir, model.Options{DType: dtype})
	require.NoError(t, err)
	e := New(dev, Options{})
	t.Cleanup(func() {
		e.Close()
		m.Close()
		require.NoError(t, dev.Close())
	})
	require.NoError(t, e.AddModel("m", m, o))
	return e
}

// TestSmolLM2: the real checkpoint writes what transformers wrote, all chats at once, and scores within 3e-4.
func TestSmolLM2(t *testing.T) {
	e := smollm2(t, kernels.F32, ModelOptions{KVPages: 256})
	text, err := os.ReadFile(goldens.Path(t, "smollm2/golden.json"))
	require.NoError(t, err)
	var g struct {
		Chats []struct {
			IDs       []int32
			GreedyIDs []int32   `json:"greedy_ids"`
			Greedy    []float64 `json:"greedy_logp"`
			Logp      []float64
		}
	}
	require.NoError(t, json.Unmarshal(text, &g))
	require.NotEmpty(t, g.Chats)
	var wg sync.WaitGroup
	for _, c := range g.Chats {
		wg.Go(func() {
			res, err := e.Generate(t.Context(), Request{Model: "m", Prompt: c.IDs, MaxTokens: len(c.GreedyIDs),
				EOS: []int32{}})
			if err != nil || !equalIDs(c.GreedyIDs, res.IDs) {
				t.Errorf("%v: greedy text is %v, not %v", err, res.IDs, c.GreedyIDs)
				return
			}
			for i, want := range c.Greedy {
				if d := want - float64(res.Logprobs[i]); d > 3e-4 || d < -3e-4 {
					t.Errorf("log-probability of new token %d is %v, not %v", i, res.Logprobs[i], want)
				}
			}
			s, err := e.Score(t.Context(), "m", nil, c.IDs, ScoreOptions{})
			if err != nil {
				t.Error(err)
				return
			}
			for i, want := range c.Logp {
				if d := want - float64(s.Logprobs[i]); d > 3e-4 || d < -3e-4 {
					t.Errorf("log-probability of token %d is %v, not %v", i+1, s.Logprobs[i], want)
				}
			}
		})
	}
	wg.Wait()
}

// TestSmolLM2Penalties: greedy answers to "Name the capital of France." as transformers 5.23.0 writes them in f32 with
// repetition_penalty, min_new_tokens and sequence_bias.
func TestSmolLM2Penalties(t *testing.T) {
	e := smollm2(t, kernels.F32, ModelOptions{KVPages: 64})
	text, err := os.ReadFile("testdata/penalties_smollm2.json")
	require.NoError(t, err)
	var g struct {
		Prompt []int32
		Cases  []struct {
			Repetition float64
			MinTokens  int `json:"min_tokens"`
			Bias       map[int32]float64
			IDs        []int32
		}
	}
	require.NoError(t, json.Unmarshal(text, &g))
	require.Len(t, g.Cases, 4)
	for _, c := range g.Cases {
		res, err := e.Generate(t.Context(), Request{Model: "m", Prompt: g.Prompt, MaxTokens: 60, EOS: []int32{0, 2},
			Penalties: Penalties{LogitBias: c.Bias, Repetition: c.Repetition, MinTokens: c.MinTokens}})
		require.NoError(t, err)
		require.Equal(t, c.IDs, res.IDs)
	}
}

// BenchmarkDecode: 64 sequences that share a prompt of 64 tokens write 32 each.
func BenchmarkDecode(b *testing.B) {
	e := smollm2(b, kernels.BF16, ModelOptions{KVPages: 512})
	for b.Loop() {
		before, start := e.Stats().Models[0], time.Now()
		var wg sync.WaitGroup
		for i := range uint64(64) {
			wg.Go(func() {
				_, err := e.Generate(b.Context(), Request{Model: "m", Prompt: prompt(64, 1), MaxTokens: 32,
					Temperature: 1, EOS: []int32{}, Stream: i})
				if err != nil {
					b.Error(err)
				}
			})
		}
		wg.Wait()
		after, took := e.Stats().Models[0], time.Since(start)
		b.ReportMetric(float64(after.Sampled-before.Sampled)/took.Seconds(), "tokens/s")
		b.ReportMetric(100*(1-(after.Busy-before.Busy).Seconds()/took.Seconds()), "%outside")
		b.ReportMetric(float64(after.Steps-before.Steps), "steps")
	}
}
