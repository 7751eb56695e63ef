package engine

import (
	"context"
	"errors"
	"math"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/ref"
	"github.com/zerosearch-go/zerosearch/model"
)

// adapter is a fresh one for m whose B is not zero.
func adapter(t testing.TB, m *model.Model, seed uint64) *model.Adapter {
	a, err := model.NewAdapter(m, model.AdapterConfig{R: 4, Alpha: 8}, true, seed)
	require.NoError(t, err)
	t.Cleanup(a.Close)
	for i, p := range a.Params() {
		x := make([]float32, p.Master.Len())
		for k := range x {
			x[k] = float32(math.Sin(float64(seed)*100+float64(i*31+k))) / 4
		}
		kernels.Upload(m.Device, p.Master, x)
		a.Repack(p)
	}
	return a
}

// TestForeignAdapter: an adapter that was made for another model, of the same shapes or not, or that is closed, is
// refused by itself.
func TestForeignAdapter(t *testing.T) {
	dev := ref.New()
	m := tiny(t, dev, kernels.F32, 1)
	same := tiny(t, dev, kernels.F32, 2)
	wide, err := model.NewRandom(dev, &model.Config{Arch: "llama", Vocab: 97, Hidden: 48, Inter: 48, Layers: 3,
		Heads:   4,
		KVHeads: 2, HeadDim: 8, MaxPos: 600, Eps: 1e-5, RopeTheta: 1e4, Tied: true}, model.Options{DType: kernels.F32},
		1)
	require.NoError(t, err)
	t.Cleanup(wide.Close)
	own, closed := adapter(t, m, 1), adapter(t, m, 2)
	closed.Close()
	const foreign = "made for another model"
	verdicts := map[*model.Adapter]string{nil: "", own: "", adapter(t, same, 3): foreign, adapter(t, wide, 4): foreign,
		closed: "the adapter is closed"}
	e := New(dev, Options{})
	t.Cleanup(e.Close)
	require.NoError(t, e.AddModel("m", m, ModelOptions{}))
	var wg sync.WaitGroup
	for i := range 30 {
		for a, want := range verdicts {
			check := func(err error) {
				if want == "" {
					assert.NoError(t, err)
				} else {
					assert.ErrorContains(t, err, want)
				}
			}
			wg.Go(func() {
				_, err := e.Generate(t.Context(), Request{Model: "m", Adapter: a, Prompt: prompt(20+i, 1), MaxTokens: 6,
					EOS: []int32{}})
				check(err)
			})
			wg.Go(func() {
				_, err := e.Score(t.Context(), "m", a, prompt(20+i, 2), ScoreOptions{})
				check(err)
			})
		}
	}
	wg.Wait()
	noLeak(t, e)
}

// TestRemoveModel: requests that came before are finished, later ones are refused, memory comes back, and the name is
// free again.
func TestRemoveModel(t *testing.T) {
	dev := ref.New()
	a, b := tiny(t, dev, kernels.F32, 1), tiny(t, dev, kernels.F32, 2)
	e := New(dev, Options{})
	t.Cleanup(e.Close)
	require.NoError(t, e.AddModel("a", a, ModelOptions{KVPages: 60}))
	live := ref.Live(dev)
	request := func(name string, n int) Request {
		return Request{Model: name, Prompt: prompt(20+n%9, uint64(n)), MaxTokens: 8, EOS: []int32{}, Temperature: 1,
			Stream: uint64(n)}
	}
	var want [40]Result
	for i := range want {
		var err error
		want[i], err = e.Generate(t.Context(), request("a", i))
		require.NoError(t, err)
	}
	for range 3 {
		require.NoError(t, e.AddModel("b", b, ModelOptions{KVPages: 60}))
		var wg sync.WaitGroup
		started := make(chan struct{})
		var once sync.Once
		for i := range want {
			wg.Go(func() {
				res, err := e.Generate(t.Context(), request("a", i))
				assert.NoError(t, err)
				assert.Equal(t, want[i].IDs, res.IDs)
			})
			wg.Go(func() {
				r := request("b", i)
				r.Stop = func([]int32) bool { once.Do(func() { close(started) }); return false }
				res, err := e.Generate(t.Context(), r)
				switch {
				case err == nil:
					assert.Len(t, res.IDs, 8)
				case !errors.Is(err, errRemoved):
					assert.ErrorContains(t, err, "there is no such model")
				}
			})
		}
		<-started
		found, err := e.generation(request("b", 0)) // it has its model, and is late
		require.NoError(t, err)
		require.NoError(t, e.RemoveModel(t.Context(), "b"))
		require.ErrorIs(t, e.await(t.Context(), found), errRemoved)
		require.ErrorContains(t, e.RemoveModel(t.Context(), "b"), "there is no such model")
		wg.Wait()
		_, err = e.Generate(t.Context(), request("b", 0))
		require.ErrorContains(t, err, "there is no such model")
		require.Len(t, e.Stats().Models, 1)
		require.LessOrEqual(t, ref.Live(dev), live+1, "memory is lost") // b's table of rotations stays
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, e.RemoveModel(ctx, "a"), context.Canceled)
	require.NoError(t, e.RemoveModel(t.Context(), "a"))
	require.NoError(t, e.Do(t.Context(), func() error { return nil }), "an engine without models still runs tasks")
	require.NoError(t, e.AddModel("a", a, ModelOptions{KVPages: 60}))
	res, err := e.Generate(t.Context(), request("a", 7))
	require.NoError(t, err)
	require.Equal(t, want[7].IDs, res.IDs)
}

// TestChange: after a change of weights, whatever became of it, nothing computed with the old ones is used; what was
// computed with others stays.
func TestChange(t *testing.T) {
	dev := ref.New()
	m := tiny(t, dev, kernels.F32, 1)
	policy, simulator := adapter(t, m, 1), adapter(t, m, 2)
	e := New(dev, Options{})
	t.Cleanup(e.Close)
	require.NoError(t, e.AddModel("m", m, ModelOptions{}))
	ask := func(a *model.Adapter) Request {
		return Request{Model: "m", Adapter: a, Prompt: prompt(50, 1), MaxTokens: 2, EOS: []int32{}}
	}
	fill := func() (base, ofPolicy, ofSimulator int) {
		for a, n := range map[*model.Adapter]*int{nil: &base, policy: &ofPolicy, simulator: &ofSimulator} {
			res, err := e.Generate(t.Context(), ask(a))
			require.NoError(t, err)
			*n = res.CachedTokens
		}
		return base, ofPolicy, ofSimulator
	}
	require.Equal(t, [3]int{0, 0, 0}, three(fill()))
	require.Equal(t, [3]int{49, 49, 49}, three(fill()))
	failed := errors.New("out of luck")
	for name, f := range map[string]func() error{"well": func() error { return nil },
		"failed": func() error { return failed }, "panicked": func() error { panic(failed) }} {
		err := e.Change(t.Context(), "m", policy, f)
		require.Equal(t, name != "well", err != nil)
		require.Equal(t, [3]int{49, 0, 49}, three(fill()), name)
		err = e.Change(t.Context(), "m", nil, f)
		require.Equal(t, name != "well", err != nil)
		require.Equal(t, [3]int{0, 0, 0}, three(fill()), name)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, e.Change(ctx, "m", nil, func() error { panic("not run") }), context.Canceled)
	require.Equal(t, [3]int{49, 49, 49}, three(fill()))

	require.NoError(t, e.RemoveAdapter(t.Context(), "m", simulator))
	require.Equal(t, [3]int{49, 49, 0}, three(fill()))
	for seed := range uint64(20) { // each comes, works and goes: its pages are nobody else's
		a, err := model.NewAdapter(m, model.AdapterConfig{R: 4, Alpha: 8}, false, seed)
		require.NoError(t, err)
		res, err := e.Generate(t.Context(), ask(a))
		require.NoError(t, err)
		require.Zero(t, res.CachedTokens)
		before := e.Stats().Models[0]
		require.NoError(t, e.RemoveAdapter(t.Context(), "m", a))
		require.NoError(t, e.Do(t.Context(), func() error { return nil }))
		require.Equal(t, before.FreePages+2, e.Stats().Models[0].FreePages)
		a.Close()
	}
}

func three(a, b, c int) [3]int { return [3]int{a, b, c} }
