package engine

import (
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/engine/kvcache"
	"github.com/zerosearch-go/zerosearch/internal/goldens"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/model"
	"github.com/zerosearch-go/zerosearch/safetensors"
)

// TestGoldens: what transformers computed for tiny checkpoints comes out of the engine, all requests of a model at
// once: greedy text to the id, log-probabilities and entropies within 1e-4 (model/testdata/README.md says how they were
// made).
func TestGoldens(t *testing.T) {
	dirs, err := filepath.Glob("../model/testdata/models/*/golden.json")
	require.NoError(t, err)
	require.NotEmpty(t, dirs)
	for _, file := range dirs {
		t.Run(filepath.Base(filepath.Dir(file)), func(t *testing.T) {
			golden(t, "cpu", filepath.Dir(file), filepath.Dir(file), "")
		})
	}
	t.Run("lora", func(t *testing.T) {
		golden(t, "cpu", "../model/testdata/models/llama", "../model/testdata/lora/llama-r4",
			"../model/testdata/lora/llama-r4")
	})
	t.Run("queued", func(t *testing.T) { // the device that is as late as it may be
		golden(t, "queued cpu", "../model/testdata/models/llama", "../model/testdata/lora/llama-r4",
			"../model/testdata/lora/llama-r4")
		golden(t, "queued cpu", "../model/testdata/models/small-qwen3", "../model/testdata/models/small-qwen3", "")
	})
	t.Run("whole set", func(t *testing.T) {
		files, err := filepath.Glob(filepath.Join(goldens.Path(t, "models"), "*", "golden.json"))
		require.NoError(t, err)
		for _, file := range files {
			t.Run(filepath.Base(filepath.Dir(file)), func(t *testing.T) {
				golden(t, "cpu", filepath.Dir(file), filepath.Dir(file), "")
			})
		}
	})
}

func golden(t *testing.T, device, checkpoint, values, adapter string) {
	dev := open(t, device, 2)
	t.Cleanup(func() { require.NoError(t, dev.Close()) })
	m, err := model.Load(dev, checkpoint, model.Options{DType: kernels.F32})
	require.NoError(t, err)
	t.Cleanup(m.Close)
	var a *model.Adapter
	if adapter != "" {
		a, err = model.LoadAdapter(m, adapter, false)
		require.NoError(t, err)
		t.Cleanup(a.Close)
	}
	f, err := safetensors.OpenDir(filepath.Join(values, "golden.safetensors"))
	require.NoError(t, err)
	defer f.Close()
	e := New(dev, Options{})
	defer e.Close()
	require.NoError(t, e.AddModel("m", m, ModelOptions{MaxBatchTokens: 100, KVPages: 24}))

	var wg sync.WaitGroup
	texts := 0
	for n := '0'; ; n++ {
		name := "gen" + string(n)
		want, ok := ints(t, f, name+".ids")
		if !ok {
			break
		}
		texts++
		ids, _ := ints(t, f, name+".prompt")
		wg.Go(func() {
			res, err := e.Generate(t.Context(), Request{Model: "m", Adapter: a, Prompt: ids, MaxTokens: len(want),
				EOS: []int32{}})
			if err != nil {
				t.Error(err)
			}
			if !equalIDs(want, res.IDs) {
				t.Errorf("%s: greedy text is %v, not %v", name, res.IDs, want)
			}
		})
	}
	for n := '0'; ; n++ {
		name := "seq" + string(n)
		ids, ok := ints(t, f, name+".ids")
		if !ok {
			break
		}
		texts++
		wg.Go(func() {
			near(t, f, name+".logp", e, a, ids, 1)
			near(t, f, name+".logp_t07", e, a, ids, InvTemp(0.7))
		})
	}
	wg.Wait()
	require.Positive(t, texts)
	noLeak(t, e)
}

// near compares Score with the golden tensor name, and entropies with theirs.
func near(t *testing.T, f *safetensors.Set, name string, e *Engine, a *model.Adapter, ids []int32, invTemp float32) {
	s, err := e.Score(t.Context(), "m", a, ids, ScoreOptions{InvTemp: invTemp})
	if err != nil {
		t.Error(err)
		return
	}
	within := func(name string, got []float32, skip int) {
		want, ok := floats(t, f, name)
		if !ok {
			return
		}
		for i := range got {
			if d := got[i] - want[i+skip]; !(d < 1e-4 && d > -1e-4) {
				t.Errorf("%s[%d] is %v, not %v", name, i+skip, got[i], want[i+skip])
				return
			}
		}
	}
	within(name, s.Logprobs, 1)
	if invTemp == 1 {
		within(name[:len("seq0")]+".entropy", s.Entropy, 0)
	}
}

func equalIDs(a, b []int32) bool { return len(a) == len(b) && kvcache.Common(a, b) == len(a) }

func ints(t *testing.T, f *safetensors.Set, name string) ([]int32, bool) {
	x, ok := f.Tensor(name)
	if !ok {
		return nil, false
	}
	out := make([]int32, x.Elements())
	require.NoError(t, x.Int32(out))
	return out, true
}

func floats(t *testing.T, f *safetensors.Set, name string) ([]float32, bool) {
	x, ok := f.Tensor(name)
	if !ok {
		return nil, false
	}
	out := make([]float32, x.Elements())
	if err := x.Float32(out); err != nil {
		t.Error(err)
		return nil, false
	}
	return out, true
}
