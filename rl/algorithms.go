package rl

import (
	"maps"
	"slices"

	"github.com/zerosearch-go/zerosearch/rl/algo"
)

// algorithm is what an --algo name stands for: how rewards become advantages, and the loss that uses them.
type algorithm struct {
	estimator algo.EstimatorName
	surrogate algo.Surrogate
	agg       algo.Aggregation // "": --loss-agg-mode
	groups    bool             // compares the rollouts of a question, so it needs --n 2 or more
}

var algorithms = map[string]algorithm{
	"grpo":                 {estimator: algo.EstGRPO, surrogate: algo.Clip, groups: true},
	"dr_grpo":              {estimator: algo.EstDrGRPO, surrogate: algo.Clip, agg: algo.SeqMeanTokenSumNorm, groups: true},
	"gspo":                 {estimator: algo.EstGRPO, surrogate: algo.GSPO, agg: algo.SeqMeanTokenMean, groups: true},
	"cispo":                {estimator: algo.EstGRPO, surrogate: algo.CISPO, groups: true},
	"rloo":                 {estimator: algo.EstRLOO, surrogate: algo.Clip, groups: true},
	"reinforce":            {estimator: algo.EstReinforce, surrogate: algo.Clip},
	"reinforce++":          {estimator: algo.EstReinforcePP, surrogate: algo.Clip},
	"reinforce++-baseline": {estimator: algo.EstReinforcePPGroups, surrogate: algo.Clip, groups: true},
}

func algorithmNames() []string { return slices.Sorted(maps.Keys(algorithms)) }

// rule builds estimator and loss from the flags.
func (c AlgoConfig) rule() (algo.Estimator, algo.Policy, error) {
	a := algorithms[c.Algo]
	agg := algo.Aggregation(c.LossAgg)
	if a.agg != "" {
		agg = a.agg
	}
	est, err := algo.Estimator{Name: a.estimator}.Validate()
	if err != nil {
		return est, algo.Policy{}, err
	}
	p, err := algo.Policy{Surrogate: a.surrogate, ClipLow: c.ClipLow, ClipHigh: c.ClipHigh, DualClip: c.DualClip, Aggregation: agg,
		KL: algo.K3, KLCoef: c.KLCoef, EntropyCoef: c.EntropyCoef}.Validate()
	return est, p, err
}
