package engine

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/kerneltest"
	"github.com/zerosearch-go/zerosearch/kernels/ref"
	"github.com/zerosearch-go/zerosearch/model"
)

// pair is two models, the first with an adapter, on a device.
type pair struct {
	dev    kernels.Device
	models [2]*model.Model
	a      *model.Adapter
}

var names = [2]string{"policy", "simulator"}

func newPair(t testing.TB, device string) *pair {
	p := &pair{dev: open(t, device, 1)}
	t.Cleanup(func() { require.NoError(t, p.dev.Close()) })
	for i := range p.models {
		p.models[i] = tiny(t, p.dev, kernels.F32, uint64(i))
	}
	p.a = adapter(t, p.models[0], 3)
	return p
}

func (p *pair) engine(t testing.TB, o [2]ModelOptions) *Engine {
	e := New(p.dev, Options{LogitsBytes: 97 * 4 * 5})
	for i, m := range p.models {
		require.NoError(t, e.AddModel(names[i], m, o[i]))
	}
	return e
}

// episode is two turns of one model: what the first gave is the beginning of the second's prompt. It can be asked of
// either pair.
type episode struct {
	model, adapter int
	head, tail     []int32
	r              Request // but for Adapter and Prompt
	stop           int32   // an id that ends the request through Stop, -1: none
	cancel         int     // so many tokens after which the caller gives up; 0: never
	score          bool    // the second turn is scored, too
}

type turns struct {
	results [2]Result
	scores  Scores
}

// run is what e gives.
func (x *episode) run(ctx context.Context, e *Engine, p *pair, disturbed bool) (out turns, err error) {
	var a *model.Adapter
	if x.adapter == 1 {
		a = p.a
	}
	ids := slices.Clone(x.head)
	for turn := range out.results {
		r := x.r
		r.Model, r.Adapter, r.Prompt, r.Stream = names[x.model], a, ids, Stream(x.r.Stream, uint64(turn))
		if x.stop >= 0 {
			r.Stop = func(ids []int32) bool { return ids[len(ids)-1]%16 == x.stop%16 }
		}
		within, cancel := context.WithCancel(ctx)
		if n := 0; disturbed && x.cancel > 0 && turn == 1 {
			r.OnToken = func(Token) {
				if n++; n == x.cancel {
					cancel()
				}
			}
		}
		out.results[turn], err = e.Generate(within, r)
		cancel()
		if err != nil {
			return out, err
		}
		ids = slices.Concat(ids, out.results[turn].IDs, x.tail)
	}
	if x.score {
		o := ScoreOptions{From: len(x.head), InvTemp: InvTemp(x.r.Temperature), TopK: x.r.Top}
		out.scores, err = e.Score(ctx, names[x.model], a, ids, o)
	}
	return out, err
}

func drawEpisode(rt *rapid.T, heads [][]int32) *episode {
	pick := func(name string, n int) int { return rapid.IntRange(0, n-1).Draw(rt, name) }
	x := &episode{model: pick("model", 2), head: heads[pick("head", len(heads))], stop: -1,
		score: pick("score", 3) == 0}
	x.tail = prompt(pick("tail", 40), uint64(pick("seed", 3)))
	if x.model == 0 {
		x.adapter = pick("adapter", 2)
	}
	x.r = Request{MaxTokens: 1 + pick("max", 40), EOS: []int32{}, Stream: uint64(pick("stream", 4))}
	switch pick("sampling", 4) {
	case 0:
		x.r.Temperature = 1
	case 1:
		x.r.Temperature, x.r.TopK = 1.2, 30
	case 2:
		x.r.Temperature, x.r.TopP = 0.8, 0.9
	}
	switch pick("end", 4) {
	case 0:
		x.stop = int32(pick("stop", 16))
	case 1:
		for range 4 {
			x.r.EOS = append(x.r.EOS, int32(pick("eos", 90)))
		}
	}
	switch pick("penalty", 8) {
	case 0:
		x.r.Repetition = 1.3
	case 1:
		x.r.Frequency, x.r.Presence = 0.5, 0.2
	case 2:
		x.r.LogitBias = map[int32]float64{7: 3, 9: -2}
	case 3:
		x.r.MinTokens = min(5, x.r.MaxTokens)
	}
	if pick("top", 10) == 0 {
		x.r.Top = 3
	}
	if pick("cancel", 6) == 0 {
		x.cancel = 1 + pick("after", 20)
	}
	return x
}

// TestLate: whatever two models are asked on a device whose results come as late as they may, with recorded passes,
// stop functions, penalties, callers that give up, weights that change and little memory, every request gets the bits
// that it gets on a plain device, nothing is counted that was dropped, and no page is lost or holds a token that
// nobody drew.
func TestLate(t *testing.T) {
	checks := flag.Lookup("rapid.checks").Value
	defer checks.Set(checks.String())
	require.NoError(t, checks.Set("60"))
	plain, late := newPair(t, "cpu"), newPair(t, "queued cpu")
	alone := plain.engine(t, [2]ModelOptions{})
	defer alone.Close()
	rapid.Check(t, func(rt *rapid.T) {
		heads := [][]int32{prompt(3, 1), prompt(40, 2), append(prompt(40, 2), prompt(30, 3)...), prompt(64, 4)}
		all := make([]*episode, rapid.IntRange(1, 14).Draw(rt, "episodes"))
		for i := range all {
			all[i] = drawEpisode(rt, heads)
		}
		var o [2]ModelOptions
		for i := range o {
			o[i] = ModelOptions{MaxContext: 256,
				KVPages:        rapid.SampledFrom([]int{8, 12, 100}).Draw(rt, "pages"),
				MaxBatchTokens: rapid.SampledFrom([]int{5, 30, 200}).Draw(rt, "tokens"),
				MaxSequences:   rapid.SampledFrom([]int{2, 5, 40}).Draw(rt, "sequences")}
		}
		changes := rapid.IntRange(0, 3).Draw(rt, "changes")
		e := late.engine(t, o)
		defer e.Close()
		got, errs := make([]turns, len(all)), make([]error, len(all))
		var wg sync.WaitGroup
		held := make(chan bool)
		wg.Go(func() { // the first turns begin together
			if err := e.Do(t.Context(), func() error { close(held); return arrived(e, len(all)) }); err != nil {
				rt.Errorf("%d episodes: %v", len(all), err)
			}
		})
		<-held
		for i, x := range all {
			wg.Go(func() { got[i], errs[i] = x.run(t.Context(), e, late, true) })
		}
		for i := range changes {
			wg.Go(func() {
				if i == 0 {
					e.Invalidate(names[0])
				} else if err := e.Change(t.Context(), names[0], late.a, func() error { return nil }); err != nil {
					rt.Errorf("change: %v", err)
				}
			})
		}
		wg.Wait()
		noLeak(t, e)
		sampled, decoded, cancelled := 0, 0, false
		for i, x := range all {
			want, err := x.run(t.Context(), alone, plain, false)
			if err != nil {
				rt.Fatal(err)
			}
			if errs[i] != nil {
				if cancelled = true; x.cancel == 0 || !errors.Is(errs[i], context.Canceled) {
					rt.Fatalf("episode %d: %v", i, errs[i])
				}
			}
			for turn, w := range want.results {
				g := got[i].results[turn]
				n := len(g.IDs)
				if sampled += n; errs[i] == nil {
					decoded += n - 1
				}
				if n > len(w.IDs) || errs[i] == nil && n < len(w.IDs) || !slices.Equal(g.IDs, w.IDs[:n]) ||
					!slices.Equal(g.Logprobs, w.Logprobs[:n]) {
					rt.Fatalf("episode %d, turn %d:\n%v %v, not\n%v %v", i, turn, g.IDs, g.Logprobs, w.IDs, w.Logprobs)
				}
			}
			g, w := got[i].scores, want.scores
			if errs[i] == nil && (!slices.Equal(g.Logprobs, w.Logprobs) || !slices.Equal(g.Entropy, w.Entropy) ||
				!slices.Equal(g.Top, w.Top)) {
				rt.Fatalf("episode %d: scores %v, not %v", i, g, w)
			}
		}
		var s ModelStats
		for _, m := range e.Stats().Models {
			s.Sampled, s.Decoded = s.Sampled+m.Sampled, s.Decoded+m.Decoded
		}
		if s.Sampled != int64(sampled) || !cancelled && s.Decoded != int64(decoded) {
			rt.Fatalf("%d tokens sampled, %d decoded; the statistics have %d and %d", sampled, decoded, s.Sampled,
				s.Decoded)
		}
	})
	require.Positive(t, late.dev.(*kerneltest.Queued).Replays(), "the test is meant to replay recordings")
}

// TestLateFailures: an error that comes late ends all requests under way, and Close ends; what had ended before keeps
// its result.
func TestLateFailures(t *testing.T) {
	d := &faulty{Device: ref.New()}
	q := kerneltest.Queue(d)
	m := tiny(t, q, kernels.F32, 1)
	e := New(q, Options{})
	require.NoError(t, e.AddModel("m", m, ModelOptions{KVPages: 40, MaxContext: 128}))
	ask := func() (errs [6]error, out [6]Result) {
		var wg sync.WaitGroup
		for i := range errs {
			wg.Go(func() {
				r := Request{Model: "m", Prompt: prompt(30+i, 1), MaxTokens: 8, EOS: []int32{}}
				out[i], errs[i] = e.Generate(t.Context(), r)
			})
		}
		wg.Wait()
		noLeak(t, e)
		return errs, out
	}
	for _, fail := range []struct {
		on   func(bool)
		what string
	}{{d.panics.Store, "the chip is on fire"}, {d.fails.Store, errLost.Error()}} {
		errs, want := ask()
		require.Equal(t, [6]error{}, errs)
		fail.on(true)
		errs, _ = ask()
		for _, err := range errs {
			require.ErrorContains(t, err, fail.what)
		}
		fail.on(false)
		errs, _ = ask()
		for _, err := range errs { // a device that failed stays so
			require.ErrorContains(t, err, fail.what)
		}
		q.Recover()
		errs, got := ask()
		require.Equal(t, [6]error{}, errs)
		for i := range want {
			require.Equal(t, want[i].IDs, got[i].IDs)
		}
	}
	_, err := e.Generate(t.Context(), Request{Model: "m", Prompt: prompt(3, 1), MaxTokens: 9,
		Stop: func([]int32) bool { panic("not so") }})
	require.ErrorContains(t, err, "not so")
	d.nan.Store(true)
	_, err = e.Generate(t.Context(), Request{Model: "m", Prompt: prompt(3, 1), MaxTokens: 9, EOS: []int32{}})
	require.ErrorContains(t, err, "its weights are damaged")
	d.nan.Store(false)

	d.panics.Store(true)
	hanging := make(chan error)
	go func() {
		_, err := e.Generate(t.Context(), Request{Model: "m", Prompt: prompt(30, 1), MaxTokens: 8})
		hanging <- err
	}()
	require.Error(t, <-hanging)
	e.Close()
}

// TestLateClose: Close in the middle of passes ends all requests with ErrClosed and loses nothing.
func TestLateClose(t *testing.T) {
	inner := ref.New()
	q := kerneltest.Queue(inner)
	m := tiny(t, q, kernels.F32, 1)
	require.NoError(t, q.Sync())
	live := ref.Live(inner)
	for round := range 5 {
		e := New(q, Options{})
		require.NoError(t, e.AddModel("m", m, ModelOptions{KVPages: 60}))
		var wg sync.WaitGroup
		started := make(chan struct{}, 100)
		for i := range 8 {
			wg.Go(func() {
				_, err := e.Generate(t.Context(), Request{Model: "m", Prompt: prompt(20+i, 1), MaxTokens: 500,
					EOS:    []int32{},
					Stream: uint64(i), OnToken: func(Token) {
						select {
						case started <- struct{}{}:
						default:
						}
					}})
				assert.ErrorIs(t, err, ErrClosed, fmt.Sprint(round))
			})
		}
		<-started
		e.Close()
		wg.Wait()
		require.NoError(t, q.Sync())
		require.LessOrEqual(t, ref.Live(inner), live+1) // the model's rotary table stays
	}
}
