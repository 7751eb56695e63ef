package engine

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/ref"
	"github.com/zerosearch-go/zerosearch/model"
)

// tiny is a small model with fresh weights.
func tiny(t testing.TB, dev kernels.Device, dtype kernels.DType, seed uint64) *model.Model {
	m, err := model.NewRandom(dev, &model.Config{Arch: "llama", Vocab: 97, Hidden: 32, Inter: 48, Layers: 2, Heads: 4,
		KVHeads: 2, HeadDim: 8,
		MaxPos: 600, Eps: 1e-5, RopeTheta: 1e4, Tied: true, EOS: []int32{96}}, model.Options{DType: dtype}, seed)
	require.NoError(t, err)
	t.Cleanup(m.Close)
	return m
}

// start runs an engine with one model, "m", on a device of its own; at the end no page, and no memory, may be lost.
func start(t testing.TB, o ModelOptions) (*Engine, *model.Model) {
	dev := ref.New()
	t.Cleanup(func() { require.NoError(t, dev.Close(), "memory is lost") })
	m := tiny(t, dev, kernels.F32, 1)
	e := New(dev, Options{})
	require.NoError(t, e.AddModel("m", m, o))
	t.Cleanup(func() {
		noLeak(t, e)
		e.Close()
	})
	return e, m
}

func noLeak(t testing.TB, e *Engine) {
	for _, s := range e.Stats().Models {
		require.Equal(t, s.Pages, s.FreePages+s.IdlePages, "pages in use when nothing runs")
		require.Zero(t, s.Running+s.Waiting)
	}
}

func prompt(n int, seed uint64) []int32 {
	ids := make([]int32, n)
	for i := range ids {
		ids[i] = int32(Stream(seed, uint64(i)) % 90)
	}
	return ids
}

func TestGenerate(t *testing.T) {
	e, _ := start(t, ModelOptions{})
	var seen []int32
	r := Request{Model: "m", Prompt: prompt(40, 1), MaxTokens: 20, Temperature: 1, EOS: []int32{}, Stream: 5,
		OnToken: func(t Token) { seen = append(seen, t.ID) }}
	res, err := e.Generate(t.Context(), r)
	require.NoError(t, err)
	require.Len(t, res.IDs, 20)
	require.Equal(t, res.IDs, seen)
	require.Equal(t, FinishLength, res.Finish)
	require.Equal(t, 40, res.PrefilledTokens)

	again, err := e.Generate(t.Context(), r)
	require.NoError(t, err)
	require.Equal(t, res.IDs, again.IDs)
	require.Equal(t, res.Logprobs, again.Logprobs)
	require.Equal(t, 39, again.CachedTokens)

	r.Stream++
	other, err := e.Generate(t.Context(), r)
	require.NoError(t, err)
	require.NotEqual(t, res.IDs, other.IDs)
}

func TestTurnPrefillsOnlyWhatIsNew(t *testing.T) {
	e, _ := start(t, ModelOptions{})
	ids := prompt(50, 1)
	for turn := range 4 {
		before := e.Stats().Models[0]
		res, err := e.Generate(t.Context(), Request{Model: "m", Prompt: ids, MaxTokens: 30, Temperature: 1,
			EOS: []int32{}, Stream: uint64(turn)})
		require.NoError(t, err)
		after := e.Stats().Models[0]
		if turn > 0 { // the last sampled token of the turn before, and 17 tokens of documents
			require.Equal(t, 18, res.PrefilledTokens)
			require.EqualValues(t, 18, after.Prefilled-before.Prefilled)
			require.EqualValues(t, len(ids)-18, after.Cached-before.Cached)
		}
		require.Zero(t, after.Copies, "a turn continues on its own pages")
		ids = append(append(ids, res.IDs...), prompt(17, uint64(100+turn))...)
	}
}

func TestFinish(t *testing.T) {
	e, m := start(t, ModelOptions{MaxContext: 64})
	r := Request{Model: "m", Prompt: prompt(10, 1), MaxTokens: 30, Temperature: 1, EOS: []int32{}}
	all, err := e.Generate(t.Context(), r)
	require.NoError(t, err)

	r.Stop = func(ids []int32) bool { return len(ids) == 4 }
	res, err := e.Generate(t.Context(), r)
	require.NoError(t, err)
	require.Equal(t, FinishStop, res.Finish)
	require.Equal(t, all.IDs[:4], res.IDs)

	r.Stop, r.EOS = nil, []int32{all.IDs[6]}
	res, err = e.Generate(t.Context(), r)
	require.NoError(t, err)
	require.Equal(t, FinishStop, res.Finish)
	require.Equal(t, all.IDs[6], res.IDs[len(res.IDs)-1])
	require.LessOrEqual(t, len(res.IDs), 7)

	r.EOS, r.MaxTokens = []int32{}, 1<<40
	res, err = e.Generate(t.Context(), r)
	require.NoError(t, err)
	require.Equal(t, FinishContext, res.Finish)
	require.Len(t, res.IDs, 54)
	require.Equal(t, all.IDs, res.IDs[:30])

	m.Config.EOS = []int32{all.IDs[2]}
	r.EOS = nil
	res, err = e.Generate(t.Context(), r)
	require.NoError(t, err)
	require.Equal(t, FinishStop, res.Finish, "the model's own end-of-sequence is the default")
}

func TestBadRequests(t *testing.T) {
	e, _ := start(t, ModelOptions{MaxContext: 64})
	good := Request{Model: "m", Prompt: prompt(5, 1), MaxTokens: 3}
	for want, change := range map[string]func(r *Request){
		"no such model":                        func(r *Request) { r.Model = "x" },
		"prompt is empty":                      func(r *Request) { r.Prompt = nil },
		"max tokens is 0":                      func(r *Request) { r.MaxTokens = 0 },
		"max tokens is -1":                     func(r *Request) { r.MaxTokens = -1 },
		"prompt has 64 tokens, the context 64": func(r *Request) { r.Prompt = prompt(64, 1) },
		"prompt has 65 tokens, the context 64": func(r *Request) { r.Prompt = prompt(65, 1) },
		"id 97 at place 1 is outside":          func(r *Request) { r.Prompt = []int32{1, 97} },
		"id -1 at place 0 is outside":          func(r *Request) { r.Prompt = []int32{-1} },
		"temperature -1":                       func(r *Request) { r.Temperature = -1 },
		"temperature NaN":                      func(r *Request) { r.Temperature = math.NaN() },
		"temperature 1e-09":                    func(r *Request) { r.Temperature = 1e-9 },
		"top-p 1.5":                            func(r *Request) { r.TopP = 1.5 },
		"min-p NaN":                            func(r *Request) { r.MinP = math.NaN() },
		"top-k -1":                             func(r *Request) { r.TopK = -1 },
		"stop function: panic: oops":           func(r *Request) { r.Stop = func([]int32) bool { panic("oops") } },
	} {
		r := good
		change(&r)
		_, err := e.Generate(t.Context(), r)
		require.ErrorContains(t, err, want)
		require.ErrorContains(t, err, "generating with "+r.Model)
	}
	_, err := e.Score(t.Context(), "m", nil, prompt(5, 1), ScoreOptions{From: 6})
	require.ErrorContains(t, err, "from 6 of 5 tokens")
	_, err = e.Generate(t.Context(), good)
	require.NoError(t, err)
	require.ErrorContains(t, e.AddModel("m", nil, ModelOptions{}), "there is one of this name")
}

// The most likely tokens beside each sampled one are what scoring the text so far gives, and so is its log-probability,
// bit for bit, also where logits are taken a row at a time.
func TestTop(t *testing.T) {
	dev := ref.New()
	m := tiny(t, dev, kernels.F32, 1)
	e := New(dev, Options{LogitsBytes: 1})
	t.Cleanup(e.Close)
	require.NoError(t, e.AddModel("m", m, ModelOptions{}))
	var wait sync.WaitGroup
	for i := range 4 {
		wait.Go(func() {
			var seen []Token
			r := Request{Model: "m", Prompt: prompt(20+i, uint64(i)), MaxTokens: 12, Temperature: 0.7, TopP: 0.9,
				EOS: []int32{}, Top: i, OnToken: func(t Token) { seen = append(seen, t) }}
			res, err := e.Generate(t.Context(), r)
			assert.NoError(t, err)
			text := r.Prompt
			for n, x := range seen {
				s, err := e.Score(t.Context(), "m", nil, text,
					ScoreOptions{From: len(text), TopK: i, InvTemp: InvTemp(r.Temperature)})
				assert.NoError(t, err)
				assert.Equal(t, s.Top, x.Top)
				assert.Equal(t, TokenLogprob{res.IDs[n], res.Logprobs[n]}, x.TokenLogprob)
				text = append(text, x.ID)
			}
			assert.Len(t, seen, 12)
		})
	}
	wait.Wait()
}

func TestScore(t *testing.T) {
	e, _ := start(t, ModelOptions{MaxBatchTokens: 16})
	ids := prompt(70, 3)
	all, err := e.Score(t.Context(), "m", nil, ids, ScoreOptions{TopK: 5})
	require.NoError(t, err)
	require.Len(t, all.Logprobs, 69)
	require.Len(t, all.Entropy, 69)
	require.Len(t, all.Top, 5)

	part, err := e.Score(t.Context(), "m", nil, ids, ScoreOptions{From: 60})
	require.NoError(t, err)
	require.Equal(t, all.Logprobs[59:], part.Logprobs)
	require.Equal(t, all.Entropy[59:], part.Entropy)
	require.Equal(t, 59, part.CachedTokens)

	// The most likely token is the greedy one, and scoring it gives the same number.
	res, err := e.Generate(t.Context(), Request{Model: "m", Prompt: ids, MaxTokens: 1})
	require.NoError(t, err)
	require.Equal(t, res.IDs[0], all.Top[0].ID)
	for i, top := range all.Top {
		s, err := e.Score(t.Context(), "m", nil, append(ids, top.ID), ScoreOptions{From: 70})
		require.NoError(t, err)
		require.InDelta(t, s.Logprobs[0], top.Logprob, 1e-6)
		require.True(t, i == 0 || top.Logprob <= all.Top[i-1].Logprob)
	}
	hot, err := e.Score(t.Context(), "m", nil, ids, ScoreOptions{InvTemp: 0.5})
	require.NoError(t, err)
	require.Greater(t, hot.Entropy[3], all.Entropy[3])

	none, err := e.Score(t.Context(), "m", nil, ids[:1], ScoreOptions{})
	require.NoError(t, err)
	require.Empty(t, none.Logprobs)
	last, err := e.Score(t.Context(), "m", nil, ids, ScoreOptions{From: 70, TopK: 1000})
	require.NoError(t, err)
	require.Empty(t, last.Logprobs)
	require.Len(t, last.Top, 97)
	require.Equal(t, all.Top, last.Top[:5])
}

func TestCancel(t *testing.T) {
	e, _ := start(t, ModelOptions{})
	ctx, cancel := context.WithCancel(t.Context())
	n := 0
	res, err := e.Generate(ctx, Request{Model: "m", Prompt: prompt(40, 1), MaxTokens: 500, Temperature: 1,
		EOS: []int32{}, OnToken: func(Token) {
			if n++; n == 5 {
				cancel()
			}
		}})
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, FinishCancelled, res.Finish)
	require.GreaterOrEqual(t, len(res.IDs), 5)
	require.Less(t, len(res.IDs), 500)
	_, err = e.Generate(ctx, Request{Model: "m", Prompt: prompt(40, 1), MaxTokens: 5})
	require.ErrorIs(t, err, context.Canceled)

	late, stop := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer stop()
	_, err = e.Generate(late, Request{Model: "m", Prompt: prompt(40, 1), MaxTokens: 500, EOS: []int32{}})
	if err != nil { // a fast machine may be done
		require.ErrorIs(t, err, context.DeadlineExceeded)
	}
}

func TestDoHasTheDeviceToItself(t *testing.T) {
	e, m := start(t, ModelOptions{})
	var wg sync.WaitGroup
	inside := false
	for i := range 20 {
		wg.Go(func() {
			if i%5 == 4 {
				err := e.Do(t.Context(), func() error {
					inside = true
					defer func() { inside = false }()
					_, err := m.Read("model.norm.weight", nil) // the device says if two goroutines use it
					return err
				})
				require.NoError(t, err)
				return
			}
			_, err := e.Generate(t.Context(), Request{Model: "m", Prompt: prompt(9, uint64(i)), MaxTokens: 9,
				EOS: []int32{}, Stop: func([]int32) bool { return inside }})
			require.NoError(t, err)
		})
	}
	wg.Wait()

	boom := errors.New("boom")
	require.ErrorIs(t, e.Do(t.Context(), func() error { return boom }), boom)
	require.ErrorContains(t, e.Do(t.Context(), func() error { panic("oops") }), "panic: oops")

	ctx, cancel := context.WithCancel(t.Context())
	err := e.Do(t.Context(), func() error {
		done := make(chan error)
		go func() { done <- e.Do(ctx, func() error { t.Error("ran after its context ended"); return nil }) }()
		go func() {
			_, err := e.Generate(ctx, Request{Model: "m", Prompt: prompt(9, 1), MaxTokens: 9})
			done <- err
		}()
		cancel()
		return errors.Join(nil, expect(<-done, context.Canceled), expect(<-done, context.Canceled))
	})
	require.NoError(t, err, "what waits behind a task can be cancelled")
}

func expect(err, want error) error {
	if errors.Is(err, want) {
		return nil
	}
	return errors.Join(errors.New("another error than expected"), err)
}

func TestInvalidate(t *testing.T) {
	e, _ := start(t, ModelOptions{})
	r := Request{Model: "m", Prompt: prompt(50, 1), MaxTokens: 3}
	for want, change := range map[int]func(){49: func() {}, 0: func() { e.Invalidate("m") },
		-1: func() { e.InvalidateAdapter("m", nil) }} {
		_, err := e.Generate(t.Context(), r)
		require.NoError(t, err)
		change()
		res, err := e.Generate(t.Context(), r)
		require.NoError(t, err)
		require.Equal(t, max(want, 0), res.CachedTokens)
	}
	e.Invalidate("m")
	res, err := e.Generate(t.Context(), r)
	require.NoError(t, err)
	require.Zero(t, res.CachedTokens)
	e.Invalidate("unknown")

	// In the middle of a sequence: it computes its tokens again.
	before := e.Stats().Models[0].Recomputed
	r.MaxTokens, r.EOS = 40, []int32{}
	r.Stop = func(ids []int32) bool {
		if len(ids) == 20 {
			e.Invalidate("m")
		}
		return false
	}
	res, err = e.Generate(t.Context(), r)
	require.NoError(t, err)
	require.Len(t, res.IDs, 40)
	require.EqualValues(t, 69, e.Stats().Models[0].Recomputed-before)
}

func TestClose(t *testing.T) {
	dev := ref.New()
	e := New(dev, Options{})
	require.NoError(t, e.AddModel("m", tiny(t, dev, kernels.F32, 1), ModelOptions{}))
	errs := make(chan error)
	started := make(chan bool)
	go func() {
		var once sync.Once
		_, err := e.Generate(context.Background(), Request{Model: "m", Prompt: prompt(9, 1), MaxTokens: 500,
			EOS:  []int32{},
			Stop: func([]int32) bool { once.Do(func() { close(started) }); return false }})
		errs <- err
	}()
	<-started
	go e.Close()
	e.Close()
	require.ErrorIs(t, <-errs, ErrClosed)
	_, err := e.Generate(context.Background(), Request{Model: "m", Prompt: prompt(9, 1), MaxTokens: 5})
	require.ErrorIs(t, err, ErrClosed)
	require.ErrorIs(t, e.Do(context.Background(), func() error { return nil }), ErrClosed)
}

// TestOnlyTokens: ids without a token are never sampled, however likely, nor listed among the most likely;
// log-probabilities stay those of the whole distribution.
func TestOnlyTokens(t *testing.T) {
	e, m := start(t, ModelOptions{})
	r := Request{Model: "m", Prompt: prompt(12, 1), MaxTokens: 40, EOS: []int32{}, Top: 97, Stream: 3}
	before, err := e.Generate(t.Context(), r)
	require.NoError(t, err)

	bad := append(slices.Clone(before.IDs), 94, 95, 96) // what greedy search likes best, and the end of the vocabulary
	require.NoError(t, m.OnlyTokens(func(id int32) bool { return !slices.Contains(bad, id) }))
	require.NotEmpty(t, m.NoToken)
	rules := map[string]Request{"greedy": r}
	for name, change := range map[string]func(r *Request){"plain": func(*Request) {},
		"top-k": func(r *Request) { r.TopK = 5 },
		"top-p": func(r *Request) { r.TopP = 0.9 }, "min-p": func(r *Request) { r.MinP = 0.01 },
		"hot": func(r *Request) { r.Temperature = 50 }} {
		s := r
		s.Temperature = 1
		change(&s)
		rules[name] = s
	}
	for name, r := range rules {
		t.Run(name, func(t *testing.T) {
			for _, r.Stream = range []uint64{1, 2, 3} {
				r.OnToken = func(tok Token) {
					require.Len(t, tok.Top, 97-len(m.NoToken))
					for _, x := range tok.Top {
						require.NotContains(t, m.NoToken, x.ID)
					}
				}
				res, err := e.Generate(t.Context(), r)
				require.NoError(t, err)
				for _, id := range res.IDs {
					require.NotContains(t, m.NoToken, id)
				}
				ids := append(slices.Clone(r.Prompt), res.IDs...)
				o := ScoreOptions{From: len(r.Prompt), InvTemp: InvTemp(r.Temperature), TopK: 97}
				scored, err := e.Score(t.Context(), "m", nil, ids, o)
				require.NoError(t, err)
				require.Equal(t, scored.Logprobs, res.Logprobs)
				require.Len(t, scored.Top, 97-len(m.NoToken))
				was := m.NoToken
				m.NoToken = nil
				whole, err := e.Score(t.Context(), "m", nil, ids, o)
				m.NoToken = was
				require.NoError(t, err)
				require.Equal(t, whole.Logprobs, scored.Logprobs)
				sum := 0.0
				for _, x := range whole.Top {
					sum += math.Exp(float64(x.Logprob))
				}
				require.InDelta(t, 1, sum, 1e-4)
			}
		})
	}
	require.ErrorContains(t, m.OnlyTokens(func(int32) bool { return false }), "do not belong together")
}
