package config

import (
	"cmp"

	"github.com/zerosearch-go/zerosearch/engine/train"
	"github.com/zerosearch-go/zerosearch/kernels"
)

// TrainOptions are the optimiser's.
func (c *Config) TrainOptions(kv kernels.DType) train.Options {
	o := &c.Optim
	return train.Options{Beta1: o.Betas[0], Beta2: o.Betas[1], Eps: o.Eps, WeightDecay: o.WeightDecay, MaxGradNorm: o.MaxGradNorm,
		MicroBatchTokens: o.MicroBatchTokens, Temperature: c.Rollout.Temperature, KVType: kv, Recompute: o.Recompute,
		Longest: c.Rollout.MaxContext, Sequences: c.Rollout.BatchSize * c.Rollout.N}
}

// Attempts is how often a group is rolled out at most.
func (c *Config) Attempts() int {
	if c.Algo.DynamicSampling {
		return cmp.Or(c.Algo.MaxGenBatches, defaultGenBatches)
	}
	return max(1, c.Rollout.MaxAttempts)
}
