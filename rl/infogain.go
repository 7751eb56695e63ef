package rl

import (
	"context"

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
// first accepted answer. The log-probs are the trainer's, under the weights and the adapter that sampled the episodes
// and at the temperature of sampling: its forward pass runs before the update, and uses no pages of the engine's prefix
// cache. A turn whose context has no room for the answer is not measured.
func (t *Trainer) informationGain(ctx context.Context, s *rollout.Sampled) error {
	if t.Config.Algo.InfoGain == 0 {
		return nil
	}
	var seqs []train.Sequence
	var turns []*episode.Turn // of two sequences each
	for g, group := range s.Groups {
		for _, e := range group {
			for k := range e.Turns {
				with, without, ok := t.contexts(e, k)
				if !ok {
					continue
				}
				for _, x := range []train.Sequence{with, without} {
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
	mean := make([]float64, len(seqs))
	err := t.Engine.Do(ctx, func() error {
		_, err := t.Updater.Trainer.Accumulate(seqs, func(seq int, logp, _, _, _ []float32) error {
			for _, p := range logp {
				mean[seq] += float64(p) / float64(len(logp))
			}
			return nil
		})
		return err
	})
	if err != nil {
		return err
	}
	for i, turn := range turns {
		gain := mean[2*i] - mean[2*i+1]
		turn.Gain = &gain
	}
	return nil
}

// contexts are the sequences that end with the golden answer, whose tokens their masks select, after turn k with its
// documents and without them. ok is false if the turn gave no documents, or the answer does not fit.
func (t *Trainer) contexts(e *episode.Episode, k int) (with, without train.Sequence, ok bool) {
	turn := &e.Turns[k]
	if turn.Action != episode.Search || turn.Observation == "" || len(e.GoldenAnswers) == 0 {
		return with, without, false
	}
	encode := t.Worker.Runner.Tokenizer.Encode
	open, answer := encode("<answer>"), encode(e.GoldenAnswers[0])
	before := append([]int32(nil), e.PromptIDs...)
	for i := range k {
		before = append(before, e.Turns[i].IDs...)
	}
	own := 0 // ids of the turn that the policy sampled; the documents follow
	for own < len(turn.Mask) && turn.Mask[own] {
		own++
	}
	sequence := func(observation []int32) train.Sequence {
		ids := append(append([]int32(nil), before...), turn.IDs[:own]...)
		ids = append(append(ids, observation...), open...)
		at := len(ids)
		ids = append(ids, answer...)
		mask := make([]bool, len(ids))
		for i := at; i < len(ids); i++ {
			mask[i] = true
		}
		return train.Sequence{IDs: ids, Mask: mask}
	}
	with = sequence(turn.IDs[own:])
	without = sequence(encode(episode.Observation(search.NoInformation)))
	limit := min(t.Config.Rollout.MaxContext, t.Policy.Model.Config.MaxPos)
	return with, without, len(answer) > 0 && max(len(with.IDs), len(without.IDs)) <= limit
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
