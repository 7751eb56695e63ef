package algo_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/zerosearch-go/zerosearch/rl/algo"
)

type verlAdvantage struct {
	Case, Estimator string
	Params          struct {
		Epsilon, Gamma, Lam float64
		NormByStd           bool `json:"norm_adv_by_std_in_grpo"`
	}
	Rewards, Mask, Values [][]float64
	Index                 []any
	Advantages, Returns   [][]float64
	Unwhitened            [][]float64 `json:"advantages_unwhitened"`
	CarryReturns          [][]float64 `json:"carry_returns"`
	CarryAdvantages       [][]float64 `json:"carry_advantages"`
	LoneGroup             bool
}

func (c *verlAdvantage) batch() []algo.Trajectory {
	ids := map[string]int{}
	mask := bools(c.Mask)
	out := make([]algo.Trajectory, len(c.Mask))
	size := map[int]int{}
	for i := range out {
		key := fmt.Sprint(c.Index[i])
		if _, ok := ids[key]; !ok {
			ids[key] = len(ids)
		}
		out[i] = algo.Trajectory{Group: ids[key], Mask: mask[i], TokenReward: c.Rewards[i]}
		size[ids[key]]++
		if c.Values != nil {
			out[i].Value = c.Values[i]
		}
	}
	for _, n := range size {
		c.LoneGroup = c.LoneGroup || n == 1
	}
	return out
}

func (c *verlAdvantage) estimator(t *testing.T) algo.Estimator {
	e := algo.Estimator{Epsilon: c.Params.Epsilon, Gamma: &c.Params.Gamma, Lambda: &c.Params.Lam}
	switch c.Estimator {
	case "grpo":
		e.Name = algo.EstGRPO
		if !c.Params.NormByStd {
			e.Name = algo.EstDrGRPO
		}
	case "rloo_vectorized":
		e.Name = algo.EstRLOO
	case "reinforce_plus_plus":
		e.Name = algo.EstReinforcePP
	case "reinforce_plus_plus_baseline":
		e.Name = algo.EstReinforcePPGroups
	default:
		e.Name = algo.EstimatorName(c.Estimator)
	}
	e, err := e.Validate()
	require.NoError(t, err)
	return e
}

func TestAdvantagesVerl(t *testing.T) {
	both(t, func(t *testing.T, dir string) {
		seen := map[string]int{}
		for _, c := range readLines[verlAdvantage](t, dir, "advantages_verl.jsonl") {
			if c.Estimator == "remax" {
				continue // needs a greedy rollout of every question
			}
			batch := c.batch()
			if c.Estimator == "rloo_vectorized" && c.LoneGroup {
				continue // a group of one: 0 there, the raw reward (as in rloo) here
			}
			adv, ret := c.estimator(t).Compute(batch)
			want := c.Advantages
			if c.CarryAdvantages != nil {
				want = c.CarryAdvantages
			}
			nearAll(t, want, adv, c.Mask, true, c.Case)
			if c.Estimator == "gae" {
				nearAll(t, c.Returns, ret, c.Mask, true, c.Case)
				for i, tr := range batch {
					a, _ := algo.GAE(c.Rewards[i], c.Values[i], tr.Mask, c.Params.Gamma, c.Params.Lam)
					nearAll(t, c.Unwhitened[i:i+1], [][]float64{a}, c.Mask[i:i+1], true, c.Case)
				}
			}
			if c.Estimator == "reinforce_plus_plus" {
				for i, tr := range batch {
					r := algo.Returns(c.Rewards[i], tr.Mask, c.Params.Gamma)
					nearAll(t, c.CarryReturns[i:i+1], [][]float64{r}, c.Mask[i:i+1], true, c.Case)
				}
			}
			seen[c.Estimator]++
		}
		require.Len(t, seen, 8, "every estimator of the file: %v", seen)
	})
}

func TestAdvantagesTRL(t *testing.T) {
	type row struct {
		Case, Estimator string
		Params          struct {
			Scale     string `json:"scale_rewards"`
			Normalize bool   `json:"normalize_advantages"`
			K         int    `json:"num_generations"`
		}
		Rewards, Advantages []float64
	}
	both(t, func(t *testing.T, dir string) {
		for _, c := range readLines[row](t, dir, "advantages_trl.jsonl") {
			group := make([]int, len(c.Rewards))
			for i := range group {
				group[i] = i / c.Params.K
			}
			var got []float64
			switch {
			case c.Params.Scale == "batch":
				continue // divides by the standard deviation of the whole batch
			case c.Estimator == "trl_grpo" && c.Params.Scale == "none":
				got = algo.GroupBaseline(c.Rewards, group)
			case c.Estimator == "trl_grpo":
				got = algo.GRPO(c.Rewards, group, 1e-4)
			default:
				got = algo.RLOO(c.Rewards, group)
			}
			if c.Params.K == 1 { // TRL: 0; here a group of one keeps its reward
				got = make([]float64, len(c.Rewards))
			}
			if c.Params.Normalize { // normalisation over the batch is one group of everything
				got = algo.GRPO(got, make([]int, len(got)), 1e-4)
			}
			nearAll(t, [][]float64{c.Advantages}, [][]float64{got}, nil, false, c.Case)
		}
	})
}

func TestEstimatorNames(t *testing.T) {
	_, err := algo.Estimator{Name: "gppo"}.Validate()
	require.ErrorContains(t, err, "reinforce++-baseline")
	g := 1.5
	_, err = algo.Estimator{Gamma: &g}.Validate()
	require.ErrorContains(t, err, "gamma")
	require.Panics(t, func() { algo.Estimator{}.Compute(make([]algo.Trajectory, 1)) })
}

// Order of the rows, and labels of the groups, carry no meaning.
func TestGroupsNeedNotBeAdjacent(t *testing.T) {
	score := []float64{1, 0, 0.75, 0.25, 0, 1}
	a := algo.GRPO(score, []int{0, 0, 0, 1, 1, 1}, 1e-6)
	perm := []int{5, 0, 3, 1, 4, 2}
	ps, pg := make([]float64, 6), make([]int, 6)
	for i, j := range perm {
		ps[i], pg[i] = score[j], []int{7, 7, 7, -2, -2, -2}[j]
	}
	b := algo.GRPO(ps, pg, 1e-6)
	for i, j := range perm {
		require.InDelta(t, a[j], b[i], 1e-15)
	}
	require.False(t, slices.Contains(a, 0))
}
