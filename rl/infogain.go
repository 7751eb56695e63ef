package rl

import (
	"context"
	"slices"
	"strings"

	"github.com/zerosearch-go/zerosearch/engine/train"
	"github.com/zerosearch-go/zerosearch/rl/algo"
	"github.com/zerosearch-go/zerosearch/rl/episode"
	"github.com/zerosearch-go/zerosearch/rl/rollout"
	"github.com/zerosearch-go/zerosearch/rl/search"
	"github.com/zerosearch-go/zerosearch/rl/update"
)

// informationGain measures what the documents of each search told the policy about the golden answer a, with L tokens:
//
//	g = 1/L [log p(a | context with the documents) - log p(a | the same context without them)]
//
// The context is that of the episode up to the documents of the turn, followed by <answer>; without them, the policy
// reads that no information is available instead. (IG-Search, arXiv 2604.15148, reads random documents there.) a is the
// first accepted answer, with a blank before it or without, whichever the policy finds likelier in a context: their
// tokens differ. The log-probs are the trainer's, under the weights and the adapter that sampled the episodes
// and at the temperature of sampling: its forward pass runs before the update, and uses no pages of the engine's prefix
// cache. A turn whose context has no room for the answer is not measured.
func (t *Trainer) informationGain(ctx context.Context, s *rollout.Sampled) error {
	if t.Config.Algo.InfoGain == 0 {
		return nil
	}
	var seqs []train.Sequence
	var turns []*episode.Turn // of four sequences each: both contexts with both spellings
	for g, group := range s.Groups {
		for _, e := range group {
			for k := range e.Turns {
				four := t.contexts(e, k)
				if four == nil {
					continue
				}
				for _, x := range four {
					x.Prefix, x.Shared, x.NoGradient = uint64(g)+1, len(e.PromptIDs), true
					seqs = append(seqs, x)
				}
				turns = append(turns, &e.Turns[k])
			}
		}
	}
	if len(seqs) == 0 {
		return nil
	}
	var mean []float64
	err := t.Engine.Do(ctx, func() error {
		var err error
		mean, err = update.Dealt(t.group(), seqs, t.meanLogprobs)
		return err
	})
	if err != nil {
		return err
	}
	for i, turn := range turns {
		gain := max(mean[4*i], mean[4*i+1]) - max(mean[4*i+2], mean[4*i+3])
		turn.Gain = &gain
	}
	return nil
}

// meanLogprobs is the mean log-prob of the trained ids of each sequence.
func (t *Trainer) meanLogprobs(seqs []train.Sequence) ([]float64, error) {
	mean := make([]float64, len(seqs))
	_, err := t.Updater.Trainer.Accumulate(seqs, func(seq int, logp, _, _, _ []float32) error {
		for _, p := range logp {
			mean[seq] += float64(p) / float64(len(logp))
		}
		return nil
	})
	return mean, err
}

// contexts are the sequences that end with the golden answer, whose tokens their masks select, in both spellings: after
// turn k with its documents, then without them. nil: the turn gave no documents, or the answer does not fit.
func (t *Trainer) contexts(e *episode.Episode, k int) (out []train.Sequence) {
	turn := &e.Turns[k]
	if turn.Action != episode.Search || turn.Observation == "" || len(e.GoldenAnswers) == 0 ||
		strings.TrimSpace(e.GoldenAnswers[0]) == "" {
		return nil
	}
	encode := t.Worker.Runner.Tokenizer.Encode
	before := append([]int32(nil), e.PromptIDs...)
	for i := range k {
		before = append(before, e.Turns[i].IDs...)
	}
	own := 0 // ids of the turn that the policy sampled; the documents follow
	for own < len(turn.Mask) && turn.Mask[own] {
		own++
	}
	before = append(before, turn.IDs[:own]...)
	limit := min(t.Config.Rollout.MaxContext, t.Policy.Model.Config.MaxPos)
	for _, observation := range [][]int32{turn.IDs[own:], encode(episode.Observation(search.NoInformation))} {
		for _, blank := range []string{"", " "} {
			ids := slices.Concat(before, observation, encode("<answer>"))
			at := len(ids)
			ids = append(ids, encode(blank+strings.TrimSpace(e.GoldenAnswers[0]))...)
			if len(ids) > limit {
				return nil
			}
			mask := make([]bool, len(ids))
			for i := at; i < len(ids); i++ {
				mask[i] = true
			}
			out = append(out, train.Sequence{IDs: ids, Mask: mask})
		}
	}
	return out
}

// addInfoGain gives the tokens of each measured turn what its gain is worth, compared with those of its group.
func (t *Trainer) addInfoGain(groups [][]*episode.Episode, trajs []update.Trajectory) {
	weight := t.Config.Algo.InfoGain
	if weight == 0 {
		return
	}
	var gains []float64
	var of []int
	var to []*float64
	i := 0
	for g, group := range groups {
		for _, e := range group {
			trajs[i].Bonus = make([]float64, len(e.Turns))
			for k := range e.Turns {
				if gain := e.Turns[k].Gain; gain != nil {
					gains, of, to = append(gains, *gain), append(of, g), append(to, &trajs[i].Bonus[k])
				}
			}
			i++
		}
	}
	for k, b := range algo.InfoGain(gains, of) {
		*to[k] = weight * b
	}
}
