package rl

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/engine/train"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/rl/config"
	"github.com/zerosearch-go/zerosearch/rl/data"
	"github.com/zerosearch-go/zerosearch/rl/episode"
	"github.com/zerosearch-go/zerosearch/rl/rundir"
	"github.com/zerosearch-go/zerosearch/rl/search"
	"github.com/zerosearch-go/zerosearch/tokenizer"
)

// alternating is a script whose documents are others in every search.
type alternating struct {
	*script
	n int
}

func (a *alternating) Search(context.Context, search.Query) (search.Documents, error) {
	a.n++
	text := []string{"yes it is", "perhaps", "nothing of use"}[a.n%3]
	return search.Documents{Text: text, Docs: []string{text}}, nil
}

// The information gain of each search is what a scorer with the weights before the update says, by its definition; the
// tokens of the turn that searched, and no others, have it, normalised over the group, on top of GRPO's advantage. The
// gains are recorded in episodes.jsonl, and a step without the flag has none.
func TestInformationGain(t *testing.T) {
	const weight = 0.5
	step := func(weight float64) (*Trainer, []*episode.Episode) {
		s := &script{tok: byteTokenizer(t), acts: map[string][]string{"a": {"found", "wrong", "found", "found"}}}
		c := config.Config{Algo: config.Algo{Algo: "grpo", InfoGain: weight},
			Rollout:  config.Rollout{BatchSize: 1, N: 4, MaxAttempts: 1, MaxContext: 200, Temperature: 1},
			Schedule: config.Schedule{TotalSteps: 1, Seed: 1}} // lr 0: the weights stay
		tr := scripted(t, s, c, []data.Question{{ID: "a", Question: "a?", GoldenAnswers: []string{"yes"},
			Columns: map[string]json.RawMessage{"prompt": json.RawMessage(`"Q a\n"`)}}})
		tr.Worker.Runner.Searcher = &alternating{script: s}
		var err error
		tr.Out, err = rundir.Create(t.TempDir(), 0, false)
		require.NoError(t, err)
		defer tr.Out.Close()
		require.NoError(t, tr.Step(t.Context(), 1))
		f, err := os.Open(filepath.Join(tr.Out.Dir, "episodes.jsonl"))
		require.NoError(t, err)
		defer f.Close()
		var all []*episode.Episode
		for e, err := range episode.Read("episodes.jsonl", f) {
			require.NoError(t, err)
			all = append(all, e)
		}
		return tr, all
	}
	_, plain := step(0)
	for _, e := range plain {
		require.Nil(t, e.Turns[0].Gain)
	}

	tr, all := step(weight)
	tok := byteTokenizer(t)
	encode := func(text string) []int32 { return tok.Encode(text, tokenizer.EncodeOptions{}) }
	scorer, err := train.NewScorer(tr.Policy.Model.Device, tr.Policy.Model, nil, train.Options{KVType: kernels.F32})
	require.NoError(t, err)
	defer scorer.Close()
	logp := func(context string) float64 {
		best := math.Inf(-1)
		for _, answer := range []string{"yes", " yes"} { // a token a byte
			ids := encode(context + "<answer>" + answer)
			mask := make([]bool, len(ids))
			for i := len(ids) - len(answer); i < len(ids); i++ {
				mask[i] = true
			}
			got, _, err := scorer.Score([]train.Sequence{{IDs: ids, Mask: mask}})
			require.NoError(t, err)
			mean := 0.0
			for _, p := range got[0] {
				mean += float64(p) / float64(len(answer))
			}
			best = max(best, mean)
		}
		return best
	}
	var gains []float64
	for i, e := range all {
		if i == 1 { // answered at once
			require.Nil(t, e.Turns[0].Gain)
			continue
		}
		require.Len(t, e.Turns, 2)
		require.Nil(t, e.Turns[1].Gain)
		want := logp("Q a\n<search>it</search>"+e.Turns[0].Observation) -
			logp("Q a\n<search>it</search>"+episode.Observation(search.NoInformation))
		require.InDelta(t, want, *e.Turns[0].Gain, 1e-5)
		gains = append(gains, *e.Turns[0].Gain)
	}
	mean := (gains[0] + gains[1] + gains[2]) / 3
	std := math.Sqrt(((gains[0]-mean)*(gains[0]-mean) + (gains[1]-mean)*(gains[1]-mean) +
		(gains[2]-mean)*(gains[2]-mean)) / 2)
	require.Greater(t, std, 1e-5)
	searched := len(encode("<search>it</search>"))
	k := 0
	for i, e := range all {
		bonus := 0.0
		if i != 1 {
			bonus = weight * (gains[k] - mean) / (std + 1e-6)
			k++
		}
		require.Equal(t, len(plain[i].Advantages), len(e.Advantages))
		for at, a := range e.Advantages {
			want := float64(plain[i].Advantages[at])
			if at < searched && len(e.Turns) == 2 {
				want += bonus
			}
			require.InDelta(t, want, a, 1e-4, "episode %d, token %d", i, at)
		}
	}
	require.InDelta(t, mean, tr.Out.Line(1)["search/information_gain"], 1e-12)
}
