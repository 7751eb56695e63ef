package rl

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"

	"github.com/zerosearch-go/zerosearch/engine/train"
	"github.com/zerosearch-go/zerosearch/rl/config"
	"github.com/zerosearch-go/zerosearch/rl/data"
	"github.com/zerosearch-go/zerosearch/rl/episode"
	"github.com/zerosearch-go/zerosearch/rl/search"
	"github.com/zerosearch-go/zerosearch/rl/verify"
)

// nearTo says whether two weights are as verify.Near as another kernel path leaves them after the steps of the
// repetition.
func (v *verifier) nearTo(step int, a, b float32) bool {
	lr := v.t.lr(step)
	if v.t.Updater.Values != nil {
		lr = max(lr, v.t.criticLR(step))
	}
	steps := float64(v.t.Updater.Epochs * (step - v.From)) // mini-batches of a step are counted below
	if size := v.t.Config.Algo.MiniBatch; size > 0 {
		trajs := v.t.Config.Rollout.BatchSize * v.t.Config.Rollout.N
		steps *= float64((trajs + size - 1) / size)
	}
	return math.Abs(float64(a)-float64(b)) <= verify.WeightSteps*lr*max(1, steps)+math.Abs(float64(a))/128
}

// score gives the recorded episodes of an attempt instead of sampling them: on another kernel path a probability may
// differ enough to sample another id. What was recorded is checked all the same: question and prompt, the documents
// of engines that are no models, and every log-prob. Rewards and advantages are left to the step.
func (v *verifier) score(ctx context.Context, questions []data.Question, only []int, step,
	attempt int) ([][]*episode.Episode, error) {
	out := make([][]*episode.Episode, len(questions))
	for _, l := range v.took[step] {
		e := new(episode.Episode)
		if err := json.Unmarshal(l.Text, e); err != nil {
			return nil, err
		}
		if e.Attempt != attempt {
			continue
		}
		if e.Group < 0 || e.Group >= len(questions) || only != nil && !slices.Contains(only, e.Group) {
			return nil, fmt.Errorf("%s", verify.MismatchOf(e, "episode", "one", "none"))
		}
		e.Reward, e.RewardParts, e.Advantages = 0, nil, nil
		for k := range e.Turns {
			e.Turns[k].Gain = nil
		}
		if err := v.asked(ctx, e, questions[e.Group]); err != nil {
			return nil, err
		}
		out[e.Group] = append(out[e.Group], e)
	}
	for i, g := range out {
		if n := v.t.Config.Rollout.N; len(g) != n && (only == nil || slices.Contains(only, i)) {
			return nil,
				fmt.Errorf("episodes.jsonl has %d episodes of attempt %d of group %d of step %d: the run rolled %d out",
					len(g), attempt, i, step, n)
		}
	}
	return out, v.logprobs(ctx, out)
}

// asked compares the question of an episode, its prompt, and its documents where they can be found again.
func (v *verifier) asked(ctx context.Context, e *episode.Episode, q data.Question) error {
	prompt, err := v.t.Worker.Prompter.IDs(q)
	if err != nil {
		return err
	}
	now := *e
	now.QuestionID, now.Question, now.GoldenAnswers, now.PromptIDs = q.ID, q.Question, q.GoldenAnswers, prompt
	now.Turns = slices.Clone(e.Turns)
	for k := range now.Turns {
		t := &now.Turns[k]
		if t.Action != episode.Search || t.Documents == nil || v.Searches == "repeated" &&
			v.t.Config.Search.Simulates() {
			continue // not searched, or by a model: another kernel path may write other documents
		}
		d, err := v.t.worker().Runner.Searcher.Search(ctx, search.Query{Query: t.Content, Question: q.Question,
			GoldenAnswers: q.GoldenAnswers, Step: e.Step,
			TotalSteps: v.t.Config.Schedule.TotalSteps, Success: v.t.state.Success,
			Stream: episode.SearchStream(seedOf(&v.t.Config, e), k)})
		if err != nil {
			continue // the recorded failure
		}
		t.Documents, t.Engine, t.Quality, t.Tau, t.Draw = d.Docs, d.Engine, string(d.Quality), d.Tau, d.Draw
		if t.Observation != "" {
			t.Observation = episode.Observation(d.Text)
		}
	}
	if v.Difference == nil {
		v.Difference = v.CompareEpisode(verify.Line{Episode: e}, verify.Line{Episode: &now})
	}
	return nil
}

// logprobs scores recorded episodes with the policy and compares.
func (v *verifier) logprobs(ctx context.Context, groups [][]*episode.Episode) error {
	if v.Difference != nil {
		return nil
	}
	c := &v.t.Config
	dtype, err := config.WeightType("--dtype", c.Policy.DType)
	if err != nil {
		return err
	}
	kv, err := config.KVType(c.Policy.KVDType, dtype)
	if err != nil {
		return err
	}
	var all []*episode.Episode
	for _, g := range groups {
		for _, e := range g {
			if e.PolicyTokens() > 0 {
				all = append(all, e)
			}
		}
	}
	var seqs []train.Sequence
	for _, e := range all {
		tk := e.Tokens()
		seqs = append(seqs, train.Sequence{IDs: tk.IDs, Mask: tk.Mask, Prefix: uint64(e.Group) + 1, Shared: tk.Prompt})
	}
	if len(seqs) == 0 {
		return nil
	}
	return v.t.Engine.Do(ctx, func() error {
		p := v.t.Policy
		s, err := train.NewScorer(p.Model.Device, p.Model, p.Adapter, c.TrainOptions(kv))
		if err != nil {
			return err
		}
		defer s.Close()
		now, _, err := s.Score(seqs)
		if err != nil {
			return err
		}
		for i, e := range all {
			k := 0
			for turn := range e.Turns {
				t := &e.Turns[turn]
				if len(t.Logprobs) != len(t.IDs) {
					turn++
					v.Difference = verify.MismatchOf(e, "logprobs", "none", "some")
					v.Difference.Turn = &turn
					return nil
				}
				for at, own := range t.Mask {
					if !own {
						continue
					}
					if !verify.Near(float64(t.Logprobs[at]), float64(now[i][k]), verify.LogprobTolerance, 1) {
						v.Difference = verify.MismatchOf(e, "logprobs", fmt.Sprint(t.Logprobs[at]),
							fmt.Sprint(now[i][k]))
						turn++
						v.Difference.Turn, v.Difference.Position = &turn, &at
						return nil
					}
					k++
				}
			}
		}
		return nil
	})
}
