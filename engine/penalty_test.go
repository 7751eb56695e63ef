package engine

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/ref"
	"github.com/zerosearch-go/zerosearch/model"
	"github.com/zerosearch-go/zerosearch/num"
)

// TestPenaltiesAreTransformers: greedy text under bias, repetition, frequency and presence penalties and a least length
// is what transformers writes (testdata/penalties.py), all requests at once.
func TestPenaltiesAreTransformers(t *testing.T) {
	dev := open(t, "cpu", 2)
	t.Cleanup(func() { require.NoError(t, dev.Close()) })
	m, err := model.Load(dev, "../model/testdata/models/llama", model.Options{DType: kernels.F32})
	require.NoError(t, err)
	t.Cleanup(m.Close)
	e := New(dev, Options{})
	defer e.Close()
	require.NoError(t, e.AddModel("m", m, ModelOptions{}))
	text, err := os.ReadFile("testdata/penalties.json")
	require.NoError(t, err)
	var cases []struct {
		Prompt, EOS, IDs                []int32
		Repetition, Frequency, Presence float64
		MinTokens                       int `json:"min_tokens"`
		Bias                            map[int32]float64
	}
	require.NoError(t, json.Unmarshal(text, &cases))
	require.Greater(t, len(cases), 25)
	var wg sync.WaitGroup
	for _, c := range cases {
		wg.Go(func() {
			res, err := e.Generate(t.Context(), Request{Model: "m", Prompt: c.Prompt, MaxTokens: 24,
				EOS:       append([]int32{}, c.EOS...),
				Penalties: Penalties{c.Bias, c.Repetition, c.Frequency, c.Presence, c.MinTokens}})
			if err != nil || !equalIDs(c.IDs, res.IDs) {
				t.Errorf("%v: %+v gives %v", err, c, res.IDs)
			}
		})
	}
	wg.Wait()
}

// recorder keeps what every Sample was given and drew.
type recorder struct {
	kernels.Device
	logits [][]float32
	rules  []kernels.Sampling
	draws  []kernels.Sampling // of the batch that was set last
	ids    []int32
}

func (d *recorder) SetBatch(b kernels.Batch, l *kernels.Layout, kv kernels.KV, ids kernels.Tensor,
	fed []kernels.SampledInput) {
	d.Device.SetBatch(b, l, kv, ids, fed)
	d.draws = l.Draws
}

func (d *recorder) Sample(ids kernels.Tensor, out kernels.LogProbs, logits kernels.Tensor, b kernels.Batch, first int) {
	d.Device.Sample(ids, out, logits, b, first)
	rules := d.draws[first : first+logits.Rows]
	drawn := make([]int32, len(rules))
	if err := kernels.Download(d.Device, drawn, ids); err != nil {
		panic(err)
	}
	for i, r := range rules {
		row := make([]float32, logits.Cols)
		if err := kernels.Download(d.Device, row, logits.RowRange(i, 1)); err != nil {
			panic(err)
		}
		d.logits, d.rules, d.ids = append(d.logits, row), append(d.rules, r), append(d.ids, drawn[i])
	}
}

// penalised is the formula, written for this test: CTRL's repetition penalty over prompt and text, OpenAI's two over
// the text.
func penalised(logits []float32, p Penalties, prompt, text, eos []int32) []float64 {
	z := make([]float64, len(logits))
	count, known := map[int32]float64{}, map[int32]bool{}
	for _, id := range prompt {
		known[id] = true
	}
	for _, id := range text {
		known[id] = true
		count[id]++
	}
	for v := range z {
		id := int32(v)
		z[v] = float64(logits[v]) + p.LogitBias[id]
		if known[id] && p.Repetition != 0 {
			if z[v] < 0 {
				z[v] *= p.Repetition
			} else {
				z[v] /= p.Repetition
			}
		}
		if z[v] -= p.Frequency * count[id]; count[id] > 0 {
			z[v] -= p.Presence
		}
	}
	for _, id := range eos {
		if len(text) < p.MinTokens {
			z[id] = math.Inf(-1)
		}
	}
	return z
}

// TestPenaltiesAreTheFormula: every token, sampled or greedy, is drawn from the logits that the formulas give, and what
// is reported of it is its log-probability without penalties: what Score gives, bit for bit.
func TestPenaltiesAreTheFormula(t *testing.T) {
	ids := append(prompt(20, 1), prompt(9, 1)...)
	eos := []int32{3, 96, 40, 41, 42, 43, 44}
	for i, p := range []Penalties{
		{Repetition: 1.5}, {Repetition: 0.6}, {Frequency: 0.7}, {Presence: 1.1}, {Frequency: -0.4, Presence: -0.2},
		{MinTokens: 17}, {MinTokens: 60},
		{LogitBias: map[int32]float64{5: 2, 40: 4, 41: -100, 96: 1}}, {LogitBias: map[int32]float64{7: 100}},
		{map[int32]float64{1: 3, 40: 3.5}, 1.2, 0.3, 0.2, 12}, {map[int32]float64{1: 3, 3: 3.5}, 1, 0.3, -0.2, 5},
	} {
		for _, temperature := range []float64{0, 0.7, 1.4} {
			t.Run(fmt.Sprintf("%d/T%v", i, temperature), func(t *testing.T) {
				dev := &recorder{Device: ref.New()}
				m := tiny(t, dev, kernels.F32, 1)
				e := New(dev, Options{})
				defer e.Close()
				require.NoError(t, e.AddModel("m", m, ModelOptions{}))
				res, err := e.Generate(t.Context(), Request{Model: "m", Prompt: ids, MaxTokens: 30,
					Temperature: temperature, EOS: eos,
					Stream: uint64(i), Penalties: p})
				require.NoError(t, err)
				require.Equal(t, dev.ids, res.IDs)
				require.GreaterOrEqual(t, len(res.IDs), min(p.MinTokens, 30))
				for n, id := range res.IDs {
					z := penalised(dev.logits[n], p, ids, res.IDs[:n], eos)
					checkDrawn(t, z, 1/max(temperature, 1e-9), temperature == 0,
						num.Uniform(dev.rules[n].Stream, int(dev.rules[n].Pos)), int(id))
				}
				if temperature == 0 {
					temperature = 1
				}
				s, err := e.Score(t.Context(), "m", nil, append(ids[:len(ids):len(ids)], res.IDs...),
					ScoreOptions{From: len(ids),
						InvTemp: InvTemp(temperature)})
				require.NoError(t, err)
				require.Equal(t, s.Logprobs, res.Logprobs)
			})
		}
	}
}

// checkDrawn fails unless id is the largest, or the first whose cumulated probability exceeds u, give or take a
// rounding.
func checkDrawn(t *testing.T, z []float64, invTemp float64, greedy bool, u float64, id int) {
	t.Helper()
	most, sum := math.Inf(-1), 0.0
	for _, x := range z {
		most = max(most, x)
	}
	if greedy {
		require.InDelta(t, most, z[id], 1e-5)
		return
	}
	p := make([]float64, len(z))
	for v, x := range z {
		p[v] = math.Exp((x - most) * invTemp)
		sum += p[v]
	}
	below := 0.0
	for _, x := range p[:id] {
		below += x / sum
	}
	require.Positive(t, p[id])
	require.GreaterOrEqual(t, u, below-1e-5)
	require.Less(t, u, below+p[id]/sum+1e-5)
}

// TestPenaltiesThatAskForNothing change no bit and are no work.
func TestPenaltiesThatAskForNothing(t *testing.T) {
	e, _ := start(t, ModelOptions{})
	r := Request{Model: "m", Prompt: prompt(40, 1), MaxTokens: 20, Temperature: 1, EOS: []int32{}, Stream: 5}
	want, err := e.Generate(t.Context(), r)
	require.NoError(t, err)
	for _, p := range []Penalties{{Repetition: 1}, {LogitBias: map[int32]float64{}}, {MinTokens: 3}} {
		j, err := e.generation(Request{Model: "m", Prompt: r.Prompt, MaxTokens: 1, EOS: r.EOS, Penalties: p})
		require.NoError(t, err)
		require.Nil(t, j.adjust)
		r.Penalties = p
		got, err := e.Generate(t.Context(), r)
		require.NoError(t, err)
		require.Equal(t, want.IDs, got.IDs)
		require.Equal(t, want.Logprobs, got.Logprobs)
	}
}

// TestPenaltiesAlone: requests with penalties get the same bits alone, and among others while they are preempted.
func TestPenaltiesAlone(t *testing.T) {
	var rs []Request
	for i := range 9 {
		rs = append(rs, Request{Model: "m", Prompt: prompt(30+i, uint64(i%4)), MaxTokens: 40,
			Temperature: float64(i % 3), EOS: []int32{9}, Stream: uint64(i),
			Penalties: Penalties{map[int32]float64{int32(i): 2}, 1 + float64(i%2)/3, 0.1 * float64(i%4), 0.2,
				7 * i % 13}})
	}
	run := func(o ModelOptions, together bool) []Result {
		e, _ := start(t, o)
		out := make([]Result, len(rs))
		var wg sync.WaitGroup
		generate := func(i int) {
			var err error
			if out[i], err = e.Generate(t.Context(), rs[i]); err != nil {
				t.Error(err)
			}
			out[i].CachedTokens, out[i].PrefilledTokens = 0, 0
		}
		if !together {
			for i := range rs {
				generate(i)
			}
			return out
		}
		require.NoError(t, e.Do(t.Context(), func() error { // holds the engine until all have arrived, in order
			for i := range rs {
				wg.Go(func() { generate(i) })
				for arrived := 0; arrived <= i; runtime.Gosched() {
					e.mu.Lock()
					arrived = len(e.inbox)
					e.mu.Unlock()
				}
			}
			return nil
		}))
		wg.Wait()
		require.Positive(t, e.Stats().Models[0].Preemptions)
		return out
	}
	require.Equal(t, run(ModelOptions{}, false), run(ModelOptions{KVPages: 5, MaxBatchTokens: 16}, true))
}

func TestBadPenalties(t *testing.T) {
	e, _ := start(t, ModelOptions{})
	all := make([]int32, 97)
	for i := range all {
		all[i] = int32(i)
	}
	for want, p := range map[string]Penalties{
		"a bias of 1 for id 97":         {LogitBias: map[int32]float64{97: 1}},
		"a bias of 1 for id -1":         {LogitBias: map[int32]float64{-1: 1}},
		"a bias of NaN for id 5":        {LogitBias: map[int32]float64{5: math.NaN()}},
		"a bias of -Inf for id 5":       {LogitBias: map[int32]float64{5: math.Inf(-1)}},
		"a repetition penalty of -1":    {Repetition: -1},
		"a repetition penalty of 1e-60": {Repetition: 1e-60},
		"a repetition penalty of +Inf":  {Repetition: math.Inf(1)},
		"a frequency penalty of NaN":    {Frequency: math.NaN()},
		"a presence penalty of 1e+300":  {Presence: 1e300},
		"at least -1 tokens":            {MinTokens: -1},
		"every token of the model ends": {MinTokens: 1},
	} {
		_, err := e.Generate(t.Context(), Request{Model: "m", Prompt: prompt(5, 1), MaxTokens: 3, EOS: all,
			Penalties: p})
		require.ErrorContains(t, err, want)
	}
}
