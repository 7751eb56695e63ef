package rl

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/zerosearch-go/zerosearch/engine/train"
	"github.com/zerosearch-go/zerosearch/rl/config"
	"github.com/zerosearch-go/zerosearch/rl/data"
	"github.com/zerosearch-go/zerosearch/rl/episode"
	"github.com/zerosearch-go/zerosearch/rl/search"
)

// Tolerances between kernel paths that sum in another order, each of the size of what is compared. A log-prob may
// differ by so much of 1 + |log-prob|, what the update computes by so much of itself + 0.2, and a weight by
// weightSteps learning rates an optimizer step, for AdamW moves a weight whose gradient is nearly 0 either way by
// about one, and by a rounding to bf16.
const (
	logprobTolerance = 0.02
	updateTolerance  = 0.05
	weightSteps      = 4
)

func near(a, b, tolerance, floor float64) bool {
	return a == b || math.Abs(a-b) <= tolerance*(floor+max(math.Abs(a), math.Abs(b)))
}

// nearMetric compares numbers that are not of the same kernel path. Those of the episodes themselves must be the same.
func nearMetric(name, a, b string) bool {
	if name == "rollout/logprob_diff_max" {
		return true // it is what log-probs are compared for
	}
	x, err := strconv.ParseFloat(a, 64)
	y, err2 := strconv.ParseFloat(b, 64)
	return err == nil && err2 == nil && (strings.HasPrefix(name, "actor/") || strings.HasPrefix(name, "critic/")) &&
		near(x, y, updateTolerance, 0.2)
}

// moment reports whether a tensor is one of AdamW's moments: gradients near 0 differ by more than themselves between
// kernel paths.
func moment(name string) bool { return strings.HasPrefix(name, "m.") || strings.HasPrefix(name, "v.") }

func (v *verifier) nearWeight(step int, a, b float32) bool {
	lr := v.t.lr(step)
	if v.t.Updater.Values != nil {
		lr = max(lr, v.t.criticLR(step))
	}
	steps := float64(v.t.Updater.Epochs * (step - v.From)) // mini-batches of a step are counted below
	if size := v.t.Config.Algo.MiniBatch; size > 0 {
		trajs := v.t.Config.Rollout.BatchSize * v.t.Config.Rollout.N
		steps *= float64((trajs + size - 1) / size)
	}
	return math.Abs(float64(a)-float64(b)) <= weightSteps*lr*max(1, steps)+math.Abs(float64(a))/128
}

// score gives the recorded episodes of an attempt instead of sampling them: on another kernel path a probability may
// differ enough to sample another id. What was recorded is checked all the same: question and prompt, the documents
// of engines that are no models, and every log-prob. Rewards and advantages are left to the step.
func (v *verifier) score(ctx context.Context, questions []data.Question, only []int, step,
	attempt int) ([][]*episode.Episode, error) {
	out := make([][]*episode.Episode, len(questions))
	for _, l := range v.took[step] {
		e := new(episode.Episode)
		if err := json.Unmarshal(l.text, e); err != nil {
			return nil, err
		}
		if e.Attempt != attempt {
			continue
		}
		if e.Group < 0 || e.Group >= len(questions) || only != nil && !slices.Contains(only, e.Group) {
			return nil, fmt.Errorf("%s", mismatchOf(e, "episode", "one", "none"))
		}
		e.Reward, e.Advantages = 0, nil
		if err := v.asked(ctx, e, questions[e.Group]); err != nil {
			return nil, err
		}
		out[e.Group] = append(out[e.Group], e)
	}
	for i, g := range out {
		if n := v.t.Config.Rollout.N; len(g) != n && (only == nil || slices.Contains(only, i)) {
			return nil, fmt.Errorf("episodes.jsonl has %d episodes of attempt %d of group %d of step %d: the run rolled %d out",
				len(g), attempt, i, step, n)
		}
	}
	return out, v.logprobs(ctx, out)
}

// asked compares the question of an episode, its prompt, and its documents where they can be found again.
func (v *verifier) asked(ctx context.Context, e *episode.Episode, q data.Question) error {
	prompt, err := v.t.Roller.Prompter.IDs(q)
	if err != nil {
		return err
	}
	now := *e
	now.QuestionID, now.Question, now.GoldenAnswers, now.PromptIDs = q.ID, q.Question, q.GoldenAnswers, prompt
	now.Turns = slices.Clone(e.Turns)
	for k := range now.Turns {
		t := &now.Turns[k]
		if t.Action != episode.Search || t.Documents == nil || v.Searches == "repeated" && v.t.Config.Search.Simulates() {
			continue // not searched, or by a model: another kernel path may write other documents
		}
		d, err := v.t.roller().Runner.Searcher.Search(ctx, search.Query{Query: t.Content, Question: q.Question,
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
		v.Difference = v.compareEpisode(recordedLine{nil, e}, recordedLine{nil, &now})
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
					v.Difference = mismatchOf(e, "logprobs", "none", "some")
					v.Difference.Turn = &turn
					return nil
				}
				for at, own := range t.Mask {
					if !own {
						continue
					}
					if !near(float64(t.Logprobs[at]), float64(now[i][k]), logprobTolerance, 1) {
						v.Difference = mismatchOf(e, "logprobs", fmt.Sprint(t.Logprobs[at]), fmt.Sprint(now[i][k]))
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
