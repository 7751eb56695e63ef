package engine

import (
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/model"
)

func TestLookup(t *testing.T) {
	for _, c := range []struct {
		ids  []int32
		k    int
		want []int32
	}{
		{[]int32{1, 2, 3, 4, 1, 2}, 8, []int32{3, 4, 1, 2}},
		{[]int32{1, 2, 3, 4, 1, 2}, 1, []int32{3}},
		{[]int32{1, 2, 3, 9, 2, 3, 5, 1, 2, 3}, 1, []int32{9}},       // the longest match,
		{[]int32{2, 3, 5, 7, 2, 3, 9, 8, 2, 3}, 1, []int32{9}},       // of equal ones the latest
		{[]int32{1, 2, 3, 4, 5, 2}, 4, nil},                          // one token is no match
		{[]int32{7, 7, 7}, 4, []int32{7}},                            // matches may overlap
		{[]int32{1}, 4, nil}, {nil, 4, nil}, {[]int32{3, 3}, 4, nil}, // nothing before
	} {
		require.Equal(t, c.want, lookup(c.ids, c.k), "%v", c.ids)
	}
}

// Wrong guesses become rare, one right guess makes them frequent again.
func TestLuck(t *testing.T) {
	var l luck
	tried := 0
	for range 200 {
		if l.tries() {
			tried++
			l.learn(0)
		}
	}
	require.Less(t, tried, 20)
	for !l.tries() {
	}
	l.learn(1)
	require.True(t, l.tries())
	l.learn(3)
	require.True(t, l.tries())
}

// Guessing changes no bit: random requests, samplings, memory sizes and company, with guesses and without.
func TestDraftsChangeNothing(t *testing.T) {
	for _, s := range []setting{{"ref", kernels.F32, kernels.F32}, {"cpu", kernels.BF16, kernels.BF16}, {"cpu", kernels.Q8, kernels.BF16}} {
		t.Run(s.String(), func(t *testing.T) {
			p := newParity(t, s, 2)
			guessed, right := int64(0), int64(0)
			checks := 0
			rapid.Check(t, func(rt *rapid.T) {
				if checks++; checks > 25 && s.device == "ref" || checks > 60 {
					return
				}
				rs := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) Request { return drawRequest(rt, p.adapters) }), 1, 5).Draw(rt, "requests")
				o := ModelOptions{KVPages: rapid.SampledFrom([]int{6, 9, 60}).Draw(rt, "pages"), MaxContext: 190, MaxBatchTokens: rapid.SampledFrom([]int{4, 40}).Draw(rt, "batch")}
				want, _ := p.all(rt, rs, o)
				o.DraftRows = rapid.SampledFrom([]int{2, 8, 64}).Draw(rt, "rows")
				got, st := p.all(rt, rs, o)
				for i := range want {
					want[i].CachedTokens, want[i].PrefilledTokens = got[i].CachedTokens, got[i].PrefilledTokens // who came first is chance
					assert.Equal(rt, want[i], got[i])
				}
				guessed, right = guessed+st.Guessed, right+st.Right
				if n := st.Sampled; n != total(got) {
					rt.Fatalf("%d tokens sampled, said to be %d", total(got), n)
				}
			})
			require.Positive(t, right, "no guess was ever right: the test says nothing")
			require.Greater(t, guessed, right)
		})
	}
}

func total(rs []Result) (n int64) {
	for _, r := range rs {
		n += int64(len(r.IDs))
	}
	return n
}

// drawRequest is a request whose text repeats itself, with any sampling, that ends in any way.
func drawRequest(rt *rapid.T, adapters []*model.Adapter) Request {
	part := rapid.SliceOfN(rapid.Int32Range(0, 90), 1, 12).Draw(rt, "part")
	r := Request{Model: "m", Adapter: rapid.SampledFrom(adapters).Draw(rt, "adapter"), MaxTokens: rapid.IntRange(1, 70).Draw(rt, "max"), EOS: []int32{}, Stream: rapid.Uint64().Draw(rt, "stream")}
	for range rapid.IntRange(1, 6).Draw(rt, "times") {
		r.Prompt = append(r.Prompt, part...)
	}
	switch rapid.IntRange(0, 3).Draw(rt, "sampling") {
	case 0: // greedy: a small model repeats itself
	case 1:
		r.Temperature, r.TopK = 0.5, 3
	case 2:
		r.Temperature, r.TopP = 0.1, 0.9
	default:
		r.Temperature = 1
	}
	switch rapid.IntRange(0, 3).Draw(rt, "end") {
	case 0:
		r.EOS = []int32{rapid.Int32Range(0, 96).Draw(rt, "eos"), 5, 6, 7, 8}
	case 1:
		n := rapid.IntRange(1, 40).Draw(rt, "stop")
		r.Stop = func(ids []int32) bool { return len(ids) >= n && ids[len(ids)-1]%3 == 0 }
	}
	return r
}

// all runs requests at once.
func (p *parity) all(rt *rapid.T, rs []Request, o ModelOptions) ([]Result, ModelStats) {
	o.KVType = p.kv
	e := New(p.dev, Options{LogitsBytes: 97 * 4 * 3})
	defer e.Close()
	if err := e.AddModel("m", p.m, o); err != nil {
		rt.Fatal(err)
	}
	out := make([]Result, len(rs))
	var wait sync.WaitGroup
	for i, r := range rs {
		wait.Go(func() {
			var err error
			if out[i], err = e.Generate(rt.Context(), r); err != nil {
				panic(fmt.Sprint(err))
			}
		})
	}
	wait.Wait()
	st := e.Stats().Models[0]
	if st.Pages != st.FreePages+st.IdlePages {
		rt.Fatalf("pages are lost: %+v", st)
	}
	return out, st
}
