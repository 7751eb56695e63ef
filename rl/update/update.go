// Package update is the learning half of a step: from trajectories with rewards to optimizer steps. The five steps of
// an update are log-probs of the reference, values of the critic, advantages, loss and gradient of each mini-batch,
// AdamW.
package update

import (
	"cmp"
	"fmt"
	"math"

	"github.com/zerosearch-go/zerosearch/engine/dist"
	"github.com/zerosearch-go/zerosearch/engine/train"
	"github.com/zerosearch-go/zerosearch/rl/algo"
)

// Trajectory is an episode as the update sees it: ids, who produced them, and what it was worth.
type Trajectory struct {
	IDs    []int32 // prompt and everything after it
	Prompt int     // ids of the prompt
	Mask   []bool  // a value an id: true where the policy sampled it and is trained on it
	Old    []float32
	// Old[i] is the log-probability with which IDs[i] was sampled, full vocabulary, after temperature; read where Mask
	// is true.
	Group  int // position of the question in the batch
	Reward float64
	// Turn[i] is the turn that IDs[i] belongs to, from 0, read where Mask is true; nil: all ids belong to one turn.
	Turn []int
	// Bonus[t] is added to the advantage of every trained id of turn t, after the estimator; nil: nothing is.
	Bonus []float64
}

// sequence is what the model has to compute of it.
func (t *Trajectory) sequence() train.Sequence {
	return train.Sequence{IDs: t.IDs, Mask: t.Mask, Prefix: uint64(t.Group) + 1, Shared: t.Prompt}
}

// Updater turns trajectories into optimizer steps.
type Updater struct {
	Trainer   *train.Trainer
	Reference *train.Scorer  // nil: there is no KL term
	Average   *train.Average // nil: the reference stays as it is
	Values    *Values        // nil: no critic
	Estimator algo.Estimator
	Policy    algo.Policy // its KLCoef is the weight of the KL wherever it counts
	Ranks     dist.Group  // who learns together; nil: one process
	Epochs    int         // times over the mini-batches; 0: 1
	Norm      float64     // constant of algo.SeqMeanTokenSumLimit and -Norm; 0: the longest response of a mini-batch

	// ImportanceCap bounds the weights of truncated importance sampling between rollout and trainer; 0: none are
	// applied.
	ImportanceCap float64

	KLInReward          bool    // the KL is taken from the rewards instead of being added to the loss
	KLTarget, KLHorizon float64 // of algo.AdaptiveKL; target 0: the weight is fixed

	// OnTrajectory, if not nil, is told how many of the visits to trajectories of an update are done.
	OnTrajectory func(done, total int)

	backwardAll bool // run the backward pass of trajectories without a gradient, too: for a test
}

// Stats sums up an update.
type Stats struct {
	algo.Terms         // means over the mini-batches that were learned from
	GradNorm   float64 // mean over them, before clipping
	// largest |log p(trainer) - log p(sampler)| of the first mini-batch: 0 where one forward pass serves both
	LogprobDiff float64
	Trained     int // ids in the loss
	Forwarded   int // ids computed, shared prompts once
	Steps       int // optimizer steps taken
	// of |advantage|, over trajectories, of the means over their trained ids: 0 means that nothing could be learned
	MeanAdvantage float64
	Advantages    [][]float64
	// Advantages[i] has a value for each trained id of trajectory i.
	Advantage, Rewards Spread // of trained ids; of trajectories, with what was taken from them
	CriticAlone        bool   // the policy did not learn
	LLDSOn             bool   // the loss has the term LLDS
	// Of a sample of the policy's weights that are held in bf16: how many f32 masters the update changed, and how many
	// of these still round to the same bf16 value.
	Changed, BelowBF16 int
	// Importance describes the weights of truncated importance sampling; nil where rollout and trainer agree.
	Importance *ImportanceStats

	ZeroAdvantage int     // trajectories whose advantages are all 0: they need no backward pass
	KLMean        float64 // mean over trajectories of the mean KL estimate from the reference, at sampling
	KLCoef        float64 // its weight in this update
	Skips         []Skip  // mini-batches, of the policy and of the critic, that gave no finite loss or gradient
	Value         ValueStats

	visits visits
}

// visits counts the sequences of which loss and gradient were computed.
type visits struct {
	done, total int
	told        func(done, total int)
}

func (v *visits) add(n int) {
	if v.done += n; v.told != nil {
		v.told(v.done, v.total)
	}
}

// visits is how many times an update computes the loss of a sequence in this process, the critic's included.
func (u *Updater) visits(trajs []Trajectory, miniBatches [][]int) (n int) {
	for _, miniBatch := range miniBatches {
		n += len(mine(u.group(), trajs, miniBatch)) * max(1, u.Epochs)
	}
	if u.Values != nil && !u.Values.Alone {
		n *= 2
	}
	return n
}

// Row is what a trajectory brings to the loss: values at its trained ids only.
type Row struct {
	old, ref, Advantage []float64 // ref: nil where the loss has no KL term
	value, ret          []float64 // the critic's prediction and its target; nil without a critic
	mask                []bool    // all true
	turn                []int     // nil: one turn
	// trainer are the trainer's log-probs under the weights that sampled, weight those of importance sampling: nil
	// where they equal old, or are not known.
	trainer, weight []float64
	kl, reward      float64 // mean estimate; all rewards together
}

// Update computes advantages over all trajectories, then takes one optimizer step for each mini-batch: a list of
// indices into trajs, in order. lr is the learning rate of every step by its position in minis.
func (u *Updater) Update(trajs []Trajectory, miniBatches [][]int, lr func(miniBatch int) float64) (Stats, error) {
	var st Stats
	st.visits = visits{total: u.visits(trajs, miniBatches), told: u.OnTrajectory}
	st.visits.add(0) // before the reference and the critic score the trajectories
	rows, err := u.Prepare(trajs)
	if err != nil {
		return st, err
	}
	u.Describe(&st, rows)
	st.LLDSOn = u.Policy.LLDSCoef > 0
	if u.Values != nil {
		if err := u.Values.update(u.group(), &st, trajs, rows, miniBatches, max(1, u.Epochs)); err != nil {
			return st, err
		}
		if st.CriticAlone = u.Values.Alone; st.CriticAlone {
			return st, nil
		}
	}
	before, err := u.Trainer.SampleBF16()
	if err != nil {
		return st, err
	}
	for epoch := range max(1, u.Epochs) {
		for k, miniBatch := range miniBatches {
			var later [][]int
			first := epoch == 0 && k == 0
			if first {
				later = miniBatches[1:]
			}
			if err := u.step(&st, trajs, rows, miniBatch, later, first, lr(k)); err != nil {
				return st, err
			}
		}
	}
	after, err := u.Trainer.SampleBF16()
	if err != nil {
		return st, err
	}
	if st.Changed, st.BelowBF16, err = u.belowBF16(after, before); err != nil {
		return st, err
	}
	if st.Importance, err = u.importance(trajs, rows); err != nil {
		return st, err
	}
	if n := float64(st.Steps); n > 0 {
		t := &st.Terms
		for _, x := range []*float64{&t.Loss, &t.PG, &t.KL, &t.Entropy, &t.LLDS, &t.ClipFrac, &t.ClipFracLower,
			&t.Ratio, &t.K1,
			&t.K2, &t.K3, &st.GradNorm} {
			*x /= n
		}
	}
	if u.Reference != nil && u.KLTarget > 0 {
		control := algo.AdaptiveKL{Beta: u.Policy.KLCoef, Target: u.KLTarget, Horizon: u.KLHorizon}
		control.Update(st.KLMean, len(trajs))
		u.Policy.KLCoef = control.Beta
	}
	if u.Average != nil && st.Steps > 0 {
		return st, u.Average.Update()
	}
	return st, nil
}

// Describe sums up what the trajectories of an update bring to it.
func (u *Updater) Describe(st *Stats, rows []Row) {
	st.KLCoef = u.Policy.KLCoef
	var rewards, advantages []float64
	for _, r := range rows {
		st.Advantages = append(st.Advantages, r.Advantage)
		mean := 0.0
		for k, a := range r.Advantage {
			mean += (math.Abs(a) - mean) / float64(k+1) // exact where all are the same
		}
		st.MeanAdvantage += mean / float64(len(rows))
		st.KLMean += r.kl / float64(len(rows))
		rewards, advantages = append(rewards, r.reward), append(advantages, r.Advantage...)
	}
	st.Rewards, st.Advantage = spreadOf(rewards), spreadOf(advantages)
}

// Prepare asks reference and critic in one packed pass each, and computes advantages: a Row for each trajectory.
func (u *Updater) Prepare(trajs []Trajectory) (rows []Row, err error) {
	rows = make([]Row, len(trajs))
	batch := make([]algo.Trajectory, len(trajs))
	seqs := make([]train.Sequence, len(trajs))
	for i := range trajs {
		t := &trajs[i]
		batch[i] = algo.Trajectory{Group: t.Group, Reward: t.Reward, Mask: t.Mask[t.Prompt:]}
		seqs[i] = t.sequence()
		rows[i].old, rows[i].reward = trained(t.Old, t.Mask), t.Reward
		rows[i].mask = make([]bool, len(rows[i].old))
		for k := range rows[i].mask {
			rows[i].mask[k] = true
		}
	}
	if u.Reference != nil {
		ref, err := Dealt(u.group(), seqs, func(own []train.Sequence) ([][]float32, error) {
			logps, _, err := u.Reference.Score(own)
			return logps, err
		})
		if err != nil {
			return nil, fmt.Errorf("scoring with the reference: %w", err)
		}
		for i := range rows {
			u.applyKL(&rows[i], &batch[i], widen(ref[i]))
		}
	}
	if u.Values != nil {
		values, err := Dealt(u.group(), seqs, u.Values.Critic.Values)
		if err != nil {
			return nil, err
		}
		for i := range rows {
			rows[i].value = widen(values[i])
			batch[i].Value = spread(rows[i].value, batch[i].Mask)
		}
	}
	adv, ret := u.Estimator.Compute(batch)
	for i := range rows {
		rows[i].Advantage = gather(adv[i], batch[i].Mask)
		rows[i].addBonus(&trajs[i])
		if ret != nil {
			rows[i].ret = gather(ret[i], batch[i].Mask)
		}
	}
	return rows, nil
}

// addBonus numbers the turns of the trained ids and adds the bonus of each turn to their advantages.
func (r *Row) addBonus(t *Trajectory) {
	if t.Turn == nil {
		return
	}
	for i, on := range t.Mask {
		if on && i > 0 {
			r.turn = append(r.turn, t.Turn[i])
		}
	}
	if t.Bonus == nil {
		return
	}
	for k, turn := range r.turn {
		r.Advantage[k] += t.Bonus[turn]
	}
}

// applyKL estimates the KL of a trajectory from the reference, token by token, and puts it where it counts: into the
// loss or into the rewards.
func (u *Updater) applyKL(r *Row, t *algo.Trajectory, ref []float64) {
	penalty := make([]float64, len(ref))
	r.kl = u.Policy.KL.InReward(u.Policy.KLCoef, r.old, ref, r.mask, penalty)
	if u.KLInReward {
		t.TokenReward = spread(penalty, t.Mask)
		for _, p := range penalty {
			r.reward += p
		}
	} else {
		r.ref = ref
	}
}

// OptimizerStep takes one optimizer step over the trajectories whose indices are in miniBatch, and adds to st. first:
// it is the first of the update, which measures how far the log-probs of rollout and trainer differ. The ratio is that
// of the weights being trained over those that sampled; importance sampling is Update's.
func (u *Updater) OptimizerStep(st *Stats, trajs []Trajectory, rows []Row, miniBatch []int, first bool,
	lr float64) error {
	plain := *u
	plain.ImportanceCap = 0
	return plain.step(st, trajs, rows, miniBatch, nil, first, lr)
}

// step is OptimizerStep with importance sampling. later are the mini-batches that follow the first of an update: if
// rollout and trainer differ in the first, the trainer's log-probs of the later ones are computed before the weights
// change.
func (u *Updater) step(st *Stats, trajs []Trajectory, rows []Row, miniBatch []int, later [][]int, first bool,
	lr float64) error {
	policy := u.Policy
	if u.KLInReward {
		policy.KLCoef = 0
	}
	var counts algo.Counts
	zeroAdvantage := 0
	for _, i := range miniBatch {
		counts.Add(trajs[i].Mask[trajs[i].Prompt:])
		counts.AddPreserved(rows[i].Advantage, rows[i].mask)
		if rows[i].zeroAdvantage(policy) && !u.backwardAll {
			zeroAdvantage++
		}
	}
	ranks := u.group()
	own := mine(ranks, trajs, miniBatch)
	seqs := make([]train.Sequence, len(own))
	for k, i := range own {
		seqs[k] = trajs[i].sequence()
		seqs[k].NoGradient = rows[i].zeroAdvantage(policy) && !u.backwardAll
	}
	if u.Norm > 0 {
		counts.Norm = u.Norm
	}
	var terms algo.Terms
	diff := 0.0
	ts, err := u.Trainer.Accumulate(seqs, func(seq int, logp, entropy, dlogp, dentropy []float32) error {
		r := &rows[own[seq]]
		n := len(logp)
		if n != len(r.old) {
			return fmt.Errorf("trajectory %d has %d trained ids and %d recorded log-probs", own[seq], n, len(r.old))
		}
		ar := algo.Row{Mask: r.mask, New: widen(logp), Old: r.old, Ref: r.ref, Advantage: r.Advantage,
			Entropy: widen(entropy), Action: r.turn,
			DLogp: make([]float64, n), DEntropy: make([]float64, n)}
		if first && u.ImportanceCap > 0 {
			r.correct(ar.New, u.ImportanceCap)
		}
		if r.weight != nil {
			ar.Old, ar.Weight = r.trainer, r.weight
		}
		st.visits.add(1)
		share := policy.Loss(ar, counts)
		if math.IsNaN(share.Loss) || math.IsInf(share.Loss, 0) {
			return &train.NonFiniteError{What: "loss", Seq: seq, Token: -1, Value: share.Loss}
		}
		terms.Add(share)
		for i := range logp {
			diff = max(diff, math.Abs(ar.New[i]-r.old[i]))
			dlogp[i], dentropy[i] = float32(ar.DLogp[i]), float32(ar.DEntropy[i])
		}
		return nil
	})
	if first && u.ImportanceCap > 0 {
		differs, failed := dist.Any(ranks, diff > 0)
		if err = cmp.Or(err, failed); err == nil && differs {
			err = u.correctLater(trajs, rows, later)
		}
	}
	if err = u.Trainer.Finish(&ts, err, lr); err != nil {
		return err
	}
	st.Forwarded += ts.Tokens
	st.Trained += ts.TrainedTokens
	st.ZeroAdvantage += zeroAdvantage
	all, err := summed(ranks, stepSums{terms, diff}, func(to *stepSums, more stepSums) {
		to.Terms.Add(more.Terms)
		to.Diff = max(to.Diff, more.Diff)
	})
	if err != nil {
		return err
	}
	if first {
		st.LogprobDiff = all.Diff
	}
	if ts.Skipped != nil {
		st.Skips = append(st.Skips, newSkip("policy", ts.Skipped, miniBatch, trajs, rows))
		return nil
	}
	st.Steps++
	st.Terms.Add(all.Terms)
	st.GradNorm += ts.GradNorm
	return nil
}

// stepSums is what a rank has of a mini-batch's terms, and of how far log-probs differ.
type stepSums struct {
	Terms algo.Terms
	Diff  float64
}

// zeroAdvantage reports that the loss has no gradient at a trajectory: every advantage is 0, and there is neither a KL
// term nor an entropy bonus nor LLDS.
func (r Row) zeroAdvantage(p algo.Policy) bool {
	if r.ref != nil && p.KLCoef != 0 || p.EntropyCoef != 0 || p.LLDSCoef != 0 {
		return false
	}
	for _, a := range r.Advantage {
		if a != 0 {
			return false
		}
	}
	return true
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

// gather picks the values of x where mask is true.
func gather(x []float64, mask []bool) []float64 {
	var out []float64
	for i, m := range mask {
		if m {
			out = append(out, x[i])
		}
	}
	return out
}

// spread is gather back: the values of x where mask is true, and 0 elsewhere.
func spread(x []float64, mask []bool) []float64 {
	out := make([]float64, len(mask))
	k := 0
	for i, m := range mask {
		if m {
			out[i] = x[k]
			k++
		}
	}
	return out
}

func widen(x []float32) []float64 {
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = float64(v)
	}
	return out
}

// MiniBatches splits n trajectories, in order, into mini-batches of size; 0 or more than n: one. A smaller rest is a
// mini-batch of its own.
func MiniBatches(n, size int) [][]int {
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
