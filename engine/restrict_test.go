package engine

import (
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/kernels"
)

// A restricted request draws what it allows, and asks once for each length; other requests of its passes are not
// restricted, and its log-probabilities are those of the whole vocabulary.
func TestRestrict(t *testing.T) {
	dev := open(t, "cpu", 2)
	t.Cleanup(func() { require.NoError(t, dev.Close()) })
	m := tiny(t, dev, kernels.F32, 1)
	t.Cleanup(m.Close)
	e := New(dev, Options{})
	defer e.Close()
	require.NoError(t, e.AddModel("m", m, ModelOptions{}))
	free := Request{Model: "m", Prompt: []int32{1, 2, 3}, MaxTokens: 12, EOS: []int32{}, Temperature: 1, Stream: 5}
	want, err := e.Generate(t.Context(), free)
	require.NoError(t, err)

	// Ids grow by one to three from token to token.
	var lengths []int
	steps := free
	steps.Restrict = func(ids []int32, allowed []bool) {
		require.Len(t, allowed, m.Config.Vocab)
		require.False(t, slices.Contains(allowed, false))
		lengths = append(lengths, len(ids))
		last := int32(10)
		if len(ids) > 0 {
			last = ids[len(ids)-1]
		}
		for id := range allowed {
			allowed[id] = int32(id) > last && int32(id) <= last+3
		}
	}
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			res, err := e.Generate(t.Context(), free)
			if err != nil || !slices.Equal(res.IDs, want.IDs) {
				t.Errorf("%v: beside a restricted request %v, alone %v", err, res.IDs, want.IDs)
			}
		})
	}
	res, err := e.Generate(t.Context(), steps)
	wg.Wait()
	require.NoError(t, err)
	require.Len(t, res.IDs, 12)
	last := int32(10)
	for _, id := range res.IDs {
		require.Greater(t, id, last)
		require.LessOrEqual(t, id, last+3)
		last = id
	}
	require.Equal(t, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, lengths)
	scores, err := e.Score(t.Context(), "m", nil, slices.Concat(free.Prompt, res.IDs), ScoreOptions{From: 3})
	require.NoError(t, err)
	require.Equal(t, scores.Logprobs, res.Logprobs)

	// It may be what is left beside MinTokens, at the first token or later.
	for _, at := range []int{0, 4} {
		none := free
		none.EOS, none.MinTokens = []int32{7}, 6
		none.Restrict = func(ids []int32, allowed []bool) {
			if len(ids) == at {
				clear(allowed)
				allowed[7] = true
			}
		}
		res, err := e.Generate(t.Context(), none)
		require.ErrorIs(t, err, ErrNothingAllowed)
		require.Len(t, res.IDs, at)
	}
	// A panic concerns the request alone.
	broken := free
	broken.Restrict = func([]int32, []bool) { panic("no") }
	_, err = e.Generate(t.Context(), broken)
	require.ErrorContains(t, err, "the request's restriction: panic: no")
}
