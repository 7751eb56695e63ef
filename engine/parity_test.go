package engine

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/cpu"
	"github.com/zerosearch-go/zerosearch/kernels/kerneltest"
	"github.com/zerosearch-go/zerosearch/kernels/ref"
	"github.com/zerosearch-go/zerosearch/model"
)

// Parity: what a request gets, ids and log-probabilities, is the same to the last bit whether it runs alone or among
// others, in one go or in chunks, on shared pages or its own, undisturbed or preempted; the log-probabilities recorded
// while sampling are those of Score and those of the trainer's forward pass.

type setting struct {
	device    string
	dtype, kv kernels.DType
}

func (s setting) String() string { return fmt.Sprintf("%s-%v-kv-%v", s.device, s.dtype, s.kv) }

var settings = []setting{{"ref", kernels.F32, kernels.F32}, {"ref", kernels.BF16, kernels.BF16},
	{"ref", kernels.Q8, kernels.BF16},
	{"cpu", kernels.F32, kernels.F32}, {"cpu", kernels.BF16, kernels.BF16}, {"cpu", kernels.F32, kernels.BF16},
	{"cpu", kernels.Q8, kernels.BF16},
	{"queued cpu", kernels.F32, kernels.F32}, {"queued cpu", kernels.BF16, kernels.BF16}}

// open is a device by name. What is queued works as late as a GPU may, and records passes.
func open(t testing.TB, name string, threads int) kernels.Device {
	if inner, ok := strings.CutPrefix(name, "queued "); ok {
		return kerneltest.Queue(open(t, inner, threads))
	}
	if name == "ref" {
		return ref.New()
	}
	d, err := cpu.New(cpu.Options{Threads: threads})
	require.NoError(t, err)
	return d
}

// parity is a model with two adapters on a device, and what to ask of them.
type parity struct {
	setting
	dev      kernels.Device
	m        *model.Model
	adapters []*model.Adapter // the first is none
}

func newParity(t *testing.T, s setting, threads int) *parity {
	p := &parity{setting: s, dev: open(t, s.device, threads)}
	t.Cleanup(func() { require.NoError(t, p.dev.Close()) })
	p.m, p.adapters = tiny(t, p.dev, s.dtype, 1), []*model.Adapter{nil}
	for i := range 2 {
		a, err := model.NewAdapter(p.m, model.AdapterConfig{R: 4, Alpha: 8}, false, uint64(i))
		require.NoError(t, err)
		t.Cleanup(a.Close)
		p.adapters = append(p.adapters, a)
	}
	return p
}

func (p *parity) engine(t *testing.T, o ModelOptions) *Engine {
	o.KVType = p.kv
	e := New(p.dev, Options{LogitsBytes: 97 * 4 * 3})
	require.NoError(t, e.AddModel("m", p.m, o))
	return e
}

// requests are three groups of rollouts that share a prompt, two of which share a head, and some loners, in all ways of
// sampling.
func (p *parity) requests() (rs []Request) {
	head := prompt(45, 1)
	prompts := [][]int32{append(head[:45:45], prompt(30, 2)...), append(head[:45:45], prompt(19, 3)...), prompt(64, 4),
		prompt(3, 5), prompt(1, 6), prompt(140, 7)}
	for i, ids := range prompts {
		for j := range []int{3, 3, 2, 1, 1, 1}[i] {
			r := Request{Model: "m", Adapter: p.adapters[(i+j/2)%3], Prompt: ids, MaxTokens: 5 + (i*7+j*11)%23,
				Temperature: 1, EOS: []int32{},
				Stream: Stream(uint64(i), uint64(j))}
			switch (i + j) % 4 {
			case 1:
				r.Temperature = 0
			case 2:
				r.Temperature, r.TopK, r.TopP = 0.7, 20, 0.9
			case 3:
				r.Temperature, r.MinP = 1.3, 0.3
			}
			rs = append(rs, r)
		}
	}
	return rs
}

func generate(t *testing.T, e *Engine, r Request) Result {
	res, err := e.Generate(t.Context(), r)
	require.NoError(t, err)
	return res
}

// growing are requests that fit together when they begin and no more when they go on.
func (p *parity) growing() (rs []Request) {
	for i := range 3 {
		rs = append(rs, Request{Model: "m", Adapter: p.adapters[i%2], Prompt: prompt(60, uint64(i)), MaxTokens: 38 + i,
			Temperature: 1,
			EOS:         []int32{}, Stream: Stream(9, uint64(i))})
	}
	return rs
}

// alone runs every request in an engine of its own.
func (p *parity) alone(t *testing.T, rs []Request) []Result {
	var out []Result
	for _, r := range rs {
		e := p.engine(t, ModelOptions{})
		out = append(out, generate(t, e, r))
		e.Close()
	}
	return out
}

// together runs all requests at once: they are held back until the last has come.
func (p *parity) together(t *testing.T, rs []Request, o ModelOptions) ([]Result, ModelStats) {
	e := p.engine(t, o)
	defer e.Close()
	out := make([]Result, len(rs))
	var wg sync.WaitGroup
	held := make(chan bool)
	wg.Go(func() {
		assert.NoError(t, e.Do(t.Context(), func() error { close(held); return arrived(e, len(rs)) }))
	})
	<-held
	for i, r := range rs {
		wg.Go(func() {
			res, err := e.Generate(t.Context(), r)
			if err != nil {
				t.Error(err)
			}
			out[i] = res
		})
	}
	wg.Wait()
	noLeak(t, e)
	return out, e.Stats().Models[0]
}

// arrived waits until n requests are in e's inbox.
func arrived(e *Engine, n int) error {
	for range 5000 {
		e.mu.Lock()
		here := len(e.inbox)
		e.mu.Unlock()
		if here >= n {
			return nil
		}
		time.Sleep(time.Millisecond)
	}
	return errors.New("the requests did not come")
}

func equal(t *testing.T, what string, want, got []Result) {
	for i := range want {
		require.Equal(t, want[i].IDs, got[i].IDs, "%s: ids of request %d", what, i)
		require.Equal(t, want[i].Logprobs, got[i].Logprobs, "%s: log-probabilities of request %d", what, i)
		require.Equal(t, want[i].Finish, got[i].Finish, "%s: request %d", what, i)
	}
}

func TestParity(t *testing.T) {
	for _, s := range settings {
		if raceDetector && s.dtype != kernels.F32 {
			continue
		}
		t.Run(s.String(), func(t *testing.T) {
			p := newParity(t, s, 2)
			want := p.alone(t, p.requests())
			p.batches(t, want)
			p.scores(t, want)
			p.trainer(t, want)
			if s.device == "ref" {
				return
			}
			one := newParity(t, s, 1)
			got, _ := one.together(t, one.requests(), ModelOptions{})
			equal(t, "one thread", want, got)
			if inner, ok := strings.CutPrefix(s.device, "queued "); ok {
				at := newParity(t, setting{inner, s.dtype, s.kv}, 2)
				equal(t, "not queued", at.alone(t, at.requests()), want)
				require.Positive(t, p.dev.(*kerneltest.Queued).Replays(), "the test is meant to replay recordings")
			}
		})
	}
}

// batches: batch = alone, chunked = one go, decode = prefill, shared = own pages, preempted = undisturbed.
func (p *parity) batches(t *testing.T, want []Result) {
	for what, o := range map[string]ModelOptions{
		"all at once":             {},
		"chunks of 7":             {MaxBatchTokens: 7},
		"a token at a time":       {MaxBatchTokens: 1},
		"three sequences":         {MaxSequences: 3},
		"little memory":           {KVPages: 8},
		"little memory, 5 tokens": {KVPages: 6, MaxBatchTokens: 5},
	} {
		if p.device == "ref" && (o.MaxBatchTokens == 1 || o.MaxSequences > 0) || raceDetector &&
			o.MaxBatchTokens != 7 && what != "all at once" {
			continue // slow, and no other code
		}
		got, stats := p.together(t, p.requests(), o)
		equal(t, what, want, got)
		if what == "all at once" {
			require.Positive(t, stats.Cached, "the test is meant to share pages")
			require.Positive(t, stats.Copies)
		}
	}
	got, stats := p.together(t, p.growing(), ModelOptions{KVPages: 9})
	equal(t, "preempted", p.alone(t, p.growing()), got)
	require.Positive(t, stats.Preemptions, "the test is meant to force preemption")
	require.Positive(t, stats.Recomputed, "and recomputation")

	e := p.engine(t, ModelOptions{})
	defer e.Close()
	// one after the other, in two turns each: the second decodes behind what the first left
	for turn, r := range p.requests() {
		half := r
		half.MaxTokens = (r.MaxTokens + 1) / 2
		a := generate(t, e, half)
		r.Prompt, r.MaxTokens = append(r.Prompt[:len(r.Prompt):len(r.Prompt)], a.IDs...), r.MaxTokens-half.MaxTokens
		b := generate(t, e, r)
		require.Equal(t, want[turn].IDs, append(a.IDs, b.IDs...))
		require.Equal(t, want[turn].Logprobs, append(a.Logprobs, b.Logprobs...))
	}
}

// scores: Score gives the numbers that were recorded while sampling, whatever it finds in the cache.
func (p *parity) scores(t *testing.T, want []Result) {
	e := p.engine(t, ModelOptions{MaxBatchTokens: 50})
	defer e.Close()
	var wg sync.WaitGroup
	for i, r := range p.requests() {
		for _, from := range []int{1, len(r.Prompt)} {
			wg.Go(func() {
				ids := append(r.Prompt[:len(r.Prompt):len(r.Prompt)], want[i].IDs...)
				s, err := e.Score(t.Context(), "m", r.Adapter, ids,
					ScoreOptions{From: from, InvTemp: InvTemp(r.Temperature)})
				if err != nil {
					t.Error(err)
					return
				}
				got := s.Logprobs[len(s.Logprobs)-len(want[i].IDs):]
				for k := range got {
					if got[k] != want[i].Logprobs[k] {
						t.Errorf("request %d, token %d: sampled with %v, scored %v", i, k, want[i].Logprobs[k], got[k])
					}
				}
			})
		}
	}
	wg.Wait()
	noLeak(t, e)
}

// trainer: a pass that keeps activations, over all sequences packed, scores them to the same bits.
func (p *parity) trainer(t *testing.T, want []Result) {
	var b model.Batch
	var targets []int32
	pages := int32(0)
	rs := p.requests()
	for i, r := range rs {
		ids := append(r.Prompt[:len(r.Prompt):len(r.Prompt)], want[i].IDs...)
		seg := kernels.Segment{Row: len(b.IDs), Len: len(ids)}
		for pos, id := range ids {
			if pos%kernels.PageSize == 0 {
				seg.Pages = append(seg.Pages, pages)
				pages++
			}
			b.IDs, b.Pos = append(b.IDs, id), append(b.Pos, int32(pos))
			b.Slots = append(b.Slots, seg.Pages[pos/kernels.PageSize]*kernels.PageSize+int32(pos%kernels.PageSize))
			targets = append(targets, append(ids, 0)[pos+1])
		}
		b.Segs, b.Adapters = append(b.Segs, seg), append(b.Adapters, r.Adapter)
	}
	kv, err := p.dev.NewKV(p.m.KVSpec(int(pages), p.kv))
	require.NoError(t, err)
	defer kv.Free()
	ws, err := p.m.NewWorkspace(len(b.IDs), model.WorkspaceOptions{Keep: p.dtype != kernels.Q8})
	require.NoError(t, err)
	defer ws.Close()
	h := p.m.Forward(ws, &b, kv)
	tt, err := kernels.NewTensor(p.dev, kernels.I32, len(targets), 1)
	require.NoError(t, err)
	defer tt.Buf.Free()
	kernels.Upload(p.dev, tt, targets)
	lp, err := kernels.NewTensor(p.dev, kernels.F32, len(targets), 1)
	require.NoError(t, err)
	defer lp.Buf.Free()
	host := make([]float32, len(targets))
	for i, r := range rs {
		p.dev.LogProb(kernels.LogProbs{Logp: lp}, h, p.m.Head(), tt, InvTemp(r.Temperature))
		require.NoError(t, kernels.Download(p.dev, host, lp))
		row := b.Segs[i].Row + len(r.Prompt) - 1
		require.Equal(t, want[i].Logprobs, host[row:row+len(want[i].IDs)], "request %d", i)
	}
}
