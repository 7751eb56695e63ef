package update

import (
	"math"
	"time"

	"github.com/zerosearch-go/zerosearch/engine/dist"
	"github.com/zerosearch-go/zerosearch/engine/train"
	"github.com/zerosearch-go/zerosearch/rl/algo"
)

// Values is the critic's side of an update.
type Values struct {
	Critic *train.Critic
	Clip   float64 // of algo.ValueLoss
	LR     float64 // of the step under way
	Alone  bool    // in the step under way the critic learns and the policy does not
}

// ValueStats sum up what the critic saw and learned, means over trained ids.
type ValueStats struct {
	Loss, ClipFrac, GradNorm float64 // means over the mini-batches that were learned from
	Predicted                float64 // value at the time of the update
	Steps                    int
	Seconds                  float64
	Value, Return            Spread
	Explained                float64 // 1 - var(return - value)/var(return): 1 is perfect, 0 as good as a constant
}

// Spread describes numbers by mean and extremes.
type Spread struct{ Mean, Min, Max float64 }

func spreadOf(x []float64) (s Spread) {
	for i, v := range x {
		s.Mean += v / float64(len(x))
		if i == 0 || v < s.Min {
			s.Min = v
		}
		if i == 0 || v > s.Max {
			s.Max = v
		}
	}
	return s
}

// update takes one optimizer step for each mini-batch and epoch.
func (v *Values) update(g dist.Group, st *Stats, trajs []Trajectory, rows []Row, miniBatches [][]int,
	epochs int) error {
	s, began := &st.Value, time.Now()
	defer func() { s.Seconds = time.Since(began).Seconds() }()
	s.describe(rows)
	for range epochs {
		for _, miniBatch := range miniBatches {
			if err := v.optimizerStep(g, st, trajs, rows, miniBatch); err != nil {
				return err
			}
		}
	}
	if n := float64(s.Steps); n > 0 {
		for _, x := range []*float64{&s.Loss, &s.ClipFrac, &s.GradNorm, &s.Predicted} {
			*x /= n
		}
	}
	return nil
}

func (s *ValueStats) describe(rows []Row) {
	var value, ret, miss []float64
	for _, r := range rows {
		value, ret = append(value, r.value...), append(ret, r.ret...)
	}
	for i := range value {
		miss = append(miss, ret[i]-value[i])
	}
	s.Value, s.Return = spreadOf(value), spreadOf(ret)
	if all := variance(ret); all > 0 {
		s.Explained = 1 - variance(miss)/all
	}
}

func variance(x []float64) float64 {
	mean, sum := spreadOf(x).Mean, 0.0
	for _, v := range x {
		sum += (v - mean) * (v - mean)
	}
	return sum / float64(max(1, len(x)-1))
}

func (v *Values) optimizerStep(g dist.Group, st *Stats, trajs []Trajectory, rows []Row, miniBatch []int) error {
	var counts algo.Counts
	for _, i := range miniBatch {
		counts.Add(trajs[i].Mask[trajs[i].Prompt:])
	}
	own := mine(g, trajs, miniBatch)
	seqs := make([]train.Sequence, len(own))
	for k, i := range own {
		seqs[k] = trajs[i].sequence()
	}
	var sums valueSums
	ts, err := v.Critic.Step(seqs, func(seq int, value, dvalue []float32) error {
		r := rows[own[seq]]
		ar := algo.ValueRow{Mask: r.mask, Value: widen(value), Old: r.value, Return: r.ret,
			DValue: make([]float64, len(value))}
		st.visits.add(1)
		l, f := algo.ValueLoss(ar, v.Clip, algo.TokenMean, counts)
		if math.IsNaN(l) || math.IsInf(l, 0) {
			return &train.NonFiniteError{What: "value loss", Seq: seq, Token: -1, Value: l}
		}
		sums.Loss, sums.Clipped = sums.Loss+l, sums.Clipped+f
		for i := range value {
			sums.Predicted += ar.Value[i] / float64(counts.Tokens)
			dvalue[i] = float32(ar.DValue[i])
		}
		return nil
	}, v.LR)
	if err != nil {
		return err
	}
	st.Forwarded += ts.Tokens
	if ts.Skipped != nil {
		st.Skips = append(st.Skips, newSkip("critic", ts.Skipped, miniBatch, trajs, rows))
		return nil
	}
	sums, err = summed(g, sums, func(to *valueSums, more valueSums) {
		to.Loss, to.Clipped, to.Predicted = to.Loss+more.Loss, to.Clipped+more.Clipped, to.Predicted+more.Predicted
	})
	if err != nil {
		return err
	}
	s := &st.Value
	s.Steps++
	s.Loss, s.ClipFrac, s.Predicted = s.Loss+sums.Loss, s.ClipFrac+sums.Clipped, s.Predicted+sums.Predicted
	s.GradNorm += ts.GradNorm
	return nil
}

// valueSums is what a rank has of a mini-batch's sums.
type valueSums struct{ Loss, Clipped, Predicted float64 }
