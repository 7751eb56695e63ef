package engine

import (
	"math"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/engine/embed"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/cpu"
)

// The most likely tokens in the place of each scored one are those that a request for that place alone gets, the rank
// is what counting gives, and the scores are the same bits with and without them, among others and in chunks.
func TestAlternatives(t *testing.T) {
	for _, set := range settings {
		t.Run(set.String(), func(t *testing.T) {
			p := newParity(t, set, 2)
			e := p.engine(t, ModelOptions{MaxBatchTokens: 24, KVPages: 64})
			defer e.Close()
			var wait sync.WaitGroup
			for n, o := range []ScoreOptions{{TopEach: 1}, {TopEach: 5, InvTemp: 0.5}, {TopEach: 2, Ranks: true},
				{Ranks: true, InvTemp: 2}, {TopEach: 1, TopK: 3}, {}, {TopEach: 200, Ranks: true, From: 20}} {
				wait.Go(func() {
					a := p.adapters[n%len(p.adapters)]
					ids := prompt(40-n, uint64(n))
					plain, err := e.Score(t.Context(), "m", a, ids, ScoreOptions{From: o.From, InvTemp: o.InvTemp})
					assert.NoError(t, err)
					s, err := e.Score(t.Context(), "m", a, ids, o)
					assert.NoError(t, err)
					assert.Equal(t, plain.Logprobs, s.Logprobs)
					assert.Equal(t, plain.Entropy, s.Entropy)
					assert.Equal(t, o.TopEach > 0, s.TopEach != nil)
					assert.Equal(t, o.Ranks, s.Ranks != nil)
					assert.Len(t, s.Top, o.TopK)
					from := max(o.From, 1)
					for i, lp := range s.Logprobs {
						all, err := e.Score(t.Context(), "m", a, ids[:from+i],
							ScoreOptions{From: from + i, TopK: 97, InvTemp: o.InvTemp})
						assert.NoError(t, err)
						rank := int32(0)
						for _, x := range all.Top {
							if x.Logprob >= lp-1e-6 {
								rank++
							}
						}
						if o.Ranks {
							assert.Equal(t, rank, s.Ranks[i])
						}
						if o.TopEach == 0 {
							continue
						}
						assert.Len(t, s.TopEach[i], min(o.TopEach, 97))
						for k, x := range s.TopEach[i] {
							assert.Equal(t, all.Top[k].ID, x.ID)
							assert.InDelta(t, all.Top[k].Logprob, x.Logprob, 1e-6)
							if x.ID == ids[from+i] {
								assert.Equal(t, lp, x.Logprob)
							}
						}
					}
				})
			}
			wait.Wait()
		})
	}
	e, _ := start(t, ModelOptions{})
	_, err := e.Score(t.Context(), "m", nil, prompt(5, 1), ScoreOptions{TopEach: -1})
	require.ErrorContains(t, err, "top of each -1")
}

// The hidden state of the last token, brought to length 1, is the vector that the package embed computes, while others
// generate and score; a prefix comes from the cache.
func TestHidden(t *testing.T) {
	dev, err := cpu.New(cpu.Options{Threads: 2})
	require.NoError(t, err)
	defer dev.Close()
	m := tiny(t, dev, kernels.F32, 1)
	enc, err := embed.NewEncoder(m, 64)
	require.NoError(t, err)
	defer enc.Close()
	for _, name := range []string{"cpu", "queued cpu"} {
		d := open(t, name, 2)
		m := tiny(t, d, kernels.F32, 1)
		e := New(d, Options{})
		require.NoError(t, e.AddModel("m", m, ModelOptions{MaxBatchTokens: 24}))
		var wait sync.WaitGroup
		for n := range 8 {
			texts := [][]int32{prompt(1+7*n, uint64(n)), append(prompt(1+7*n, uint64(n)), 5)}
			wants, err := enc.Encode(texts)
			require.NoError(t, err)
			wait.Go(func() {
				_, err := e.Generate(t.Context(), Request{Model: "m", Prompt: prompt(9, uint64(n)), MaxTokens: 9, Top: n % 2,
					EOS: []int32{}, OnToken: func(Token) {}})
				assert.NoError(t, err)
				_, err = e.Score(t.Context(), "m", nil, prompt(30, uint64(n)), ScoreOptions{TopEach: n % 3})
				assert.NoError(t, err)
			})
			wait.Go(func() {
				for k, ids := range texts {
					got, err := e.Hidden(t.Context(), "m", nil, ids)
					assert.NoError(t, err)
					want := wants[k*len(got):]
					sum := 0.0
					for _, x := range got {
						sum += float64(x) * float64(x)
					}
					for i := range got {
						assert.Equal(t, want[i], float32(float64(got[i])/math.Sqrt(sum)))
					}
				}
			})
		}
		wait.Wait()
		_, err := e.Hidden(t.Context(), "m", nil, nil)
		require.ErrorContains(t, err, "embedding with m: the prompt is empty")
		e.Close()
		require.NoError(t, d.Close())
	}
}
