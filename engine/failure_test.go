package engine

import (
	"context"
	"errors"
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/cpu"
	"github.com/zerosearch-go/zerosearch/kernels/ref"
)

// faulty is a device that panics or fails when told to.
type faulty struct {
	kernels.Device
	panics, fails, nan atomic.Bool
}

func (d *faulty) Attention(y, q, lse kernels.Tensor, kv kernels.KV, layer int, b kernels.Batch, scale float32) {
	if d.panics.Load() {
		panic("the chip is on fire")
	}
	d.Device.Attention(y, q, lse, kv, layer, b, scale)
}

var errLost = errors.New("device lost")

func (d *faulty) Fetch(dst []byte, src kernels.Tensor) kernels.Ticket {
	if d.fails.Load() {
		return lost{}
	}
	return d.Device.Fetch(dst, src)
}

type lost struct{}

func (lost) Wait() error { return errLost }

func (d *faulty) LogProb(out kernels.LogProbs, h kernels.Tensor, w kernels.Weight, targets kernels.Tensor,
	invTemp float32) {
	d.Device.LogProb(out, h, w, targets, invTemp)
	d.spoil(out.Logp)
}

func (d *faulty) Sample(ids kernels.Tensor, out kernels.LogProbs, logits kernels.Tensor, b kernels.Batch, first int) {
	d.Device.Sample(ids, out, logits, b, first)
	d.spoil(out.Logp)
}

func (d *faulty) spoil(t kernels.Tensor) {
	if d.nan.Load() && !t.IsZero() {
		bad := make([]float32, t.Len())
		bad[0] = float32(math.NaN())
		kernels.Upload(d.Device, t, bad)
	}
}

// TestDeviceFailures: what fails ends with an error for everybody under way, never with a hang, and the engine goes on.
func TestDeviceFailures(t *testing.T) {
	d := &faulty{Device: ref.New()}
	m := tiny(t, d, kernels.F32, 1)
	e := New(d, Options{})
	defer e.Close()
	require.NoError(t, e.AddModel("m", m, ModelOptions{}))
	ask := func(n int) (errs []error) {
		var wg sync.WaitGroup
		errs = make([]error, 2*n)
		for i := range n {
			wg.Go(func() {
				_, errs[i] = e.Generate(t.Context(), Request{Model: "m", Prompt: prompt(30+i, 1), MaxTokens: 8,
					EOS: []int32{}})
			})
			wg.Go(func() { _, errs[n+i] = e.Score(t.Context(), "m", nil, prompt(40+i, 2), ScoreOptions{}) })
		}
		wg.Wait()
		noLeak(t, e)
		return errs
	}
	well := func() {
		for _, err := range ask(4) {
			require.NoError(t, err)
		}
	}
	well()
	d.panics.Store(true)
	for _, err := range ask(4) {
		require.ErrorContains(t, err, "the chip is on fire")
		require.NotContains(t, err.Error(), "\n", "one line")
		var p *PanicError
		require.ErrorAs(t, err, &p)
		require.Contains(t, string(p.Stack), "failure_test.go")
	}
	d.panics.Store(false)
	well()
	d.fails.Store(true)
	for _, err := range ask(4) {
		require.ErrorIs(t, err, errLost)
	}
	d.fails.Store(false)
	well()
	d.nan.Store(true) // in one row of each kind: those requests fail, the others do not
	bad := 0
	for _, err := range ask(4) {
		if err != nil {
			require.ErrorContains(t, err, "its weights are damaged")
			bad++
		}
	}
	require.Positive(t, bad)
	d.nan.Store(false)
	well()
}

// TestGoexit: a test that fails inside a function given to the engine must end, not hang.
func TestGoexit(t *testing.T) {
	e, _ := start(t, ModelOptions{})
	require.ErrorIs(t, e.Do(t.Context(), func() error { runtime.Goexit(); return nil }), errExit)
	_, err := e.Generate(t.Context(), Request{Model: "m", Prompt: prompt(3, 1), MaxTokens: 3,
		Stop: func([]int32) bool { runtime.Goexit(); return true }})
	require.ErrorIs(t, err, errExit)
	_, err = e.Generate(t.Context(), Request{Model: "m", Prompt: prompt(3, 1), MaxTokens: 3})
	require.NoError(t, err)
}

// TestAddModelWithoutMemory: what was allocated before the failure is given back.
func TestAddModelWithoutMemory(t *testing.T) {
	dev := &small{Device: ref.New()}
	dev.left.Store(math.MaxInt64)
	m := tiny(t, dev, kernels.F32, 1)
	e := New(dev, Options{})
	defer e.Close()
	for _, o := range []ModelOptions{{KVBytes: 1}, {KVPages: -1}, {KVType: kernels.Q8}} {
		require.Error(t, e.AddModel("m", m, o))
	}
	live := ref.Live(dev.Device)
	for n := 0; ; n++ {
		dev.left.Store(int64(n))
		err := e.AddModel("m", m, ModelOptions{})
		dev.left.Store(math.MaxInt64)
		if err == nil {
			require.Greater(t, n, 3)
			break
		}
		require.ErrorIs(t, err, errFull)
		require.LessOrEqual(t, ref.Live(dev.Device), live+1, "memory is lost") // the model's table of rotations stays
	}
	_, err := e.Generate(t.Context(), Request{Model: "m", Prompt: prompt(3, 1), MaxTokens: 3})
	require.NoError(t, err)
}

var errFull = errors.New("out of memory")

func TestDefaultSizes(t *testing.T) {
	dev := ref.New()
	m := tiny(t, dev, kernels.F32, 1)
	page := int64(kernels.PageSize) * m.Config.KVBytes(kernels.F32)
	for want, o := range map[int]ModelOptions{
		16 * 19: {},                                 // 16 sequences of 600 tokens
		3 * 4:   {MaxSequences: 3, MaxContext: 100}, // 3 of 100
		7:       {KVPages: 7, KVBytes: 1},
		5:       {KVBytes: 6*page - 1},
	} {
		got, err := o.fill(m)
		require.NoError(t, err)
		require.Equal(t, want, got)
		require.Equal(t, kernels.F32, o.KVType)
		require.Equal(t, 512, o.MaxBatchTokens)
	}
	m.Config.Layers, m.Config.MaxPos = 1000, 1<<20
	o := ModelOptions{}
	got, err := o.fill(m)
	require.NoError(t, err)
	require.Equal(t, int(defaultKVBytes/(page*500)), got, "by default the cache is bounded")
	o = ModelOptions{MaxContext: 1 << 17}
	got, err = o.fill(m)
	require.NoError(t, err)
	require.Equal(t, 1<<12, got, "but holds one sequence")
	m.Config.Layers, m.Config.MaxPos = 2, 600
}

// small is a device with room for so many allocations more.
type small struct {
	kernels.Device
	left atomic.Int64
}

func (d *small) Alloc(n int64) (kernels.Buffer, error) {
	if d.left.Add(-1) < 0 {
		return nil, errFull
	}
	return d.Device.Alloc(n)
}

func (d *small) NewKV(s kernels.KVSpec) (kernels.KV, error) {
	if d.left.Add(-1) < 0 {
		return nil, errFull
	}
	return d.Device.NewKV(s)
}

// TestManyEpisodes: hundreds of goroutines take turns with two models in little memory, some give up, weights change in
// between.
func TestManyEpisodes(t *testing.T) {
	dev := ref.New()
	t.Cleanup(func() { require.NoError(t, dev.Close()) })
	policy, simulator := tiny(t, dev, kernels.F32, 1), tiny(t, dev, kernels.F32, 2)
	e := New(dev, Options{})
	defer e.Close()
	require.NoError(t, e.AddModel("policy", policy, ModelOptions{KVPages: 40, MaxBatchTokens: 64}))
	require.NoError(t, e.AddModel("simulator", simulator, ModelOptions{KVPages: 12, MaxBatchTokens: 32}))
	episode := func(ctx context.Context, n int) ([]int32, error) {
		ids := prompt(40, uint64(n%8))
		for turn := range uint64(2) {
			res, err := e.Generate(ctx, Request{Model: "policy", Prompt: ids, MaxTokens: 4, Temperature: 1,
				EOS: []int32{}, Stream: Stream(1, uint64(n), turn)})
			if err != nil {
				return nil, err
			}
			ids = append(ids, res.IDs...)
			docs, err := e.Generate(ctx, Request{Model: "simulator", Prompt: append(prompt(50, 99), res.IDs...),
				MaxTokens: 5, Temperature: 1, EOS: []int32{}, Stream: Stream(2, uint64(n), turn)})
			if err != nil {
				return nil, err
			}
			ids = append(ids, docs.IDs...)
		}
		return ids, nil
	}
	run := func(n int, spoil bool) [][]int32 {
		out := make([][]int32, n)
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if spoil && i%10 == 9 {
					go cancel()
				}
				var err error
				if out[i], err = episode(ctx, i); err != nil && !(spoil && errors.Is(err, context.Canceled)) {
					t.Error(err)
				}
				if spoil && i%10 == 4 {
					e.Invalidate("policy")
				}
			})
		}
		wg.Wait()
		noLeak(t, e)
		return out
	}
	const n = 100
	want, got := run(n, false), run(n, true)
	for i := range n {
		if got[i] != nil {
			require.Equal(t, want[i], got[i])
		}
	}
	for _, s := range e.Stats().Models {
		require.Less(t, s.Steps, s.Prefilled+s.Decoded, "steps are shared")
		require.Greater(t, s.Cached, s.Prefilled, "prompts are shared")
	}
}

// TestWorkerPanics: a panic in a device's own goroutine is an error for those under way, in Generate as in Do, and
// changes nothing later.
func TestWorkerPanics(t *testing.T) {
	dev, err := cpu.New(cpu.Options{Threads: 3})
	require.NoError(t, err)
	m := tiny(t, dev, kernels.F32, 1)
	e := New(dev, Options{})
	defer e.Close()
	require.NoError(t, e.AddModel("m", m, ModelOptions{}))
	ask := func() (texts [8][]int32, errs [8]error) {
		var wg sync.WaitGroup
		for i := range errs {
			wg.Go(func() {
				r, err := e.Generate(t.Context(), Request{Model: "m", Prompt: prompt(30+i, 1), MaxTokens: 8,
					Temperature: 1, EOS: []int32{}})
				texts[i], errs[i] = r.IDs, err
			})
		}
		wg.Wait()
		return texts, errs
	}
	caught := func(err error) {
		t.Helper()
		require.ErrorContains(t, err, "index out of range")
		require.NotContains(t, err.Error(), "\n", "one line")
		var p *PanicError
		require.ErrorAs(t, err, &p)
		require.Contains(t, string(p.Stack), "loss_sample.go", "where it happened")
	}
	want, errs := ask()
	require.Equal(t, [8]error{}, errs)
	logits, err := kernels.NewTensor(dev, kernels.F32, 12, m.Config.Vocab)
	require.NoError(t, err)
	defer logits.Buf.Free()
	ids, err := kernels.NewTensor(dev, kernels.I32, 12, 1)
	require.NoError(t, err)
	defer ids.Buf.Free()
	rules := make([]kernels.Sampling, 12)
	for i := range rules {
		rules[i] = kernels.Sampling{InvTemp: 1, Never: []int32{1 << 20}} // panics where the row is drawn
	}
	for range 20 {
		require.NoError(t, e.Do(t.Context(), func() error { m.NoToken = rules[0].Never; return nil }))
		_, errs = ask()
		for _, err := range errs {
			caught(err)
		}
		caught(e.Do(t.Context(), func() error {
			m.NoToken = nil
			b, err := kernels.BatchOf(dev, kernels.Layout{Draws: rules}, nil)
			if err != nil {
				return err
			}
			defer b.Free()
			dev.Sample(ids, kernels.LogProbs{}, logits, b, 0)
			return nil
		}))
		got, errs := ask()
		require.Equal(t, [8]error{}, errs)
		require.Equal(t, want, got)
	}
}
