package rl

import (
	"fmt"
	"math"

	"github.com/zerosearch-go/zerosearch/engine/train"
	"github.com/zerosearch-go/zerosearch/rl/algo"
)

// Trajectory is an episode as the update sees it: ids, who produced them, and what it was worth.
type Trajectory struct {
	IDs    []int32 // prompt and everything after it
	Prompt int     // ids of the prompt
	Mask   []bool  // a value an id: true where the policy sampled it and is trained on it
	Old    []float32
	// Old[i] is the log-probability with which IDs[i] was sampled, full vocabulary, after temperature; read where Mask is true.
	Group  int // position of the question in the batch
	Reward float64
}

// sequence is what the model has to compute of it.
func (t *Trajectory) sequence() train.Sequence {
	return train.Sequence{IDs: t.IDs, Mask: t.Mask, Prefix: uint64(t.Group) + 1, Shared: t.Prompt}
}

// trained picks the values of x at trained ids.
func trained(x []float32, mask []bool) []float64 {
	var out []float64
	for i, m := range mask {
		if m && i > 0 {
			out = append(out, float64(x[i]))
		}
	}
	return out
}

// Updater turns trajectories into optimiser steps.
type Updater struct {
	Trainer   *train.Trainer
	Reference *train.Scorer // nil: no KL term
	Estimator algo.Estimator
	Policy    algo.Policy
}

// UpdateStats sums up an update.
type UpdateStats struct {
	algo.Terms            // means over the mini-batches
	GradNorm      float64 // mean over the mini-batches, before clipping
	LogprobDiff   float64 // largest |log p(trainer) - log p(sampler)| of the first mini-batch: 0 where one forward pass serves both
	Trained       int     // ids in the loss
	Forwarded     int     // ids computed, shared prompts once
	Skipped       int     // mini-batches whose gradient was not finite
	Steps         int     // optimiser steps taken
	MeanAdvantage float64 // of |advantage|, over trajectories: 0 means that nothing could be learned
	Advantages    [][]float64
	// Advantages[i] has a value for each trained id of trajectory i.
}

// row is what a trajectory brings to the loss: values at its trained ids only.
type row struct {
	old, ref, adv []float64
	mask          []bool // all true
}

// Update computes advantages over all trajectories, then takes one optimiser step for each mini-batch: a list of indices into trajs, in
// order. lr is the learning rate of every step by its position in minis.
func (u *Updater) Update(trajs []Trajectory, minis [][]int, lr func(mini int) float64) (UpdateStats, error) {
	var st UpdateStats
	rows, err := u.rows(trajs)
	if err != nil {
		return st, err
	}
	for _, r := range rows {
		st.Advantages = append(st.Advantages, r.adv)
		if len(r.adv) > 0 {
			st.MeanAdvantage += math.Abs(r.adv[0]) / float64(len(rows))
		}
	}
	for k, mini := range minis {
		if err := u.mini(&st, trajs, rows, mini, k == 0, lr(k)); err != nil {
			return st, err
		}
	}
	if n := float64(len(minis)); n > 0 {
		t := &st.Terms
		for _, x := range []*float64{&t.Loss, &t.PG, &t.KL, &t.Entropy, &t.ClipFrac, &t.ClipFracLower, &t.Ratio, &t.K1, &t.K2, &t.K3, &st.GradNorm} {
			*x /= n
		}
	}
	return st, nil
}

// rows computes advantages, and the reference's log-probabilities in one packed pass.
func (u *Updater) rows(trajs []Trajectory) ([]row, error) {
	batch := make([]algo.Trajectory, len(trajs))
	seqs := make([]train.Sequence, len(trajs))
	for i := range trajs {
		t := &trajs[i]
		batch[i] = algo.Trajectory{Group: t.Group, Reward: t.Reward, Mask: t.Mask[t.Prompt:]}
		seqs[i] = t.sequence()
	}
	adv, _ := u.Estimator.Compute(batch)
	var ref [][]float32
	if u.Reference != nil {
		var err error
		if ref, _, err = u.Reference.Score(seqs); err != nil {
			return nil, fmt.Errorf("scoring with the reference: %w", err)
		}
	}
	rows := make([]row, len(trajs))
	for i := range trajs {
		t := &trajs[i]
		r := row{old: trained(t.Old, t.Mask)}
		for k, m := range t.Mask[t.Prompt:] {
			if m {
				r.adv = append(r.adv, adv[i][k])
				r.mask = append(r.mask, true)
			}
		}
		if ref != nil {
			r.ref = make([]float64, len(ref[i]))
			for k, v := range ref[i] {
				r.ref[k] = float64(v)
			}
		}
		rows[i] = r
	}
	return rows, nil
}

// mini takes one optimiser step.
func (u *Updater) mini(st *UpdateStats, trajs []Trajectory, rows []row, mini []int, first bool, lr float64) error {
	var counts algo.Counts
	seqs := make([]train.Sequence, len(mini))
	for k, i := range mini {
		counts.Add(trajs[i].Mask[trajs[i].Prompt:])
		seqs[k] = trajs[i].sequence()
	}
	ts, err := u.Trainer.Step(seqs, func(seq int, logp, entropy, dlogp, dentropy []float32) error {
		r := rows[mini[seq]]
		n := len(logp)
		if n != len(r.old) {
			return fmt.Errorf("trajectory %d has %d trained ids and %d recorded log-probs", mini[seq], n, len(r.old))
		}
		ar := algo.Row{Mask: r.mask, New: widen(logp), Old: r.old, Ref: r.ref, Advantage: r.adv, Entropy: widen(entropy),
			DLogp: make([]float64, n), DEntropy: make([]float64, n)}
		st.Add(u.Policy.Loss(ar, counts))
		for i := range logp {
			if first {
				st.LogprobDiff = max(st.LogprobDiff, math.Abs(ar.New[i]-ar.Old[i]))
			}
			dlogp[i], dentropy[i] = float32(ar.DLogp[i]), float32(ar.DEntropy[i])
		}
		return nil
	}, lr)
	if err != nil {
		return err
	}
	st.GradNorm += ts.GradNorm
	st.Forwarded += ts.Tokens
	st.Trained += ts.TrainedTokens
	if ts.Skipped != nil {
		st.Skipped++
	} else {
		st.Steps++
	}
	return nil
}

func widen(x []float32) []float64 {
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = float64(v)
	}
	return out
}

// Minis splits n trajectories, in order, into mini-batches of size; 0 or more than n: one. A smaller rest is a mini-batch of its own.
func Minis(n, size int) [][]int {
	if size <= 0 || size > n {
		size = n
	}
	var out [][]int
	for i := 0; i < n; i++ {
		if i%size == 0 {
			out = append(out, nil)
		}
		out[len(out)-1] = append(out[len(out)-1], i)
	}
	return out
}
