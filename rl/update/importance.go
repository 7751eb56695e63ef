package update

import (
	"slices"

	"github.com/zerosearch-go/zerosearch/engine/dist"
	"github.com/zerosearch-go/zerosearch/engine/train"
	"github.com/zerosearch-go/zerosearch/rl/algo"
)

// ImportanceStats describe the weights of truncated importance sampling between rollout and trainer, over the trained
// tokens of an update.
type ImportanceStats struct {
	Mean      float64 // of the weights, after truncation
	Truncated float64 // share of tokens whose weight is the cap
}

// correct sets the weights of a trajectory from the trainer's log-probs under the weights that sampled it. Where they
// equal the recorded ones nothing is set, so that no bit of the loss changes.
func (r *Row) correct(trainer []float64, limit float64) {
	if slices.Equal(trainer, r.old) {
		return
	}
	r.trainer, r.weight = trainer, make([]float64, len(trainer))
	algo.TruncatedWeights(trainer, r.old, limit, r.weight)
}

// correctLater computes the trainer's log-probs of the mini-batches that follow the first of an update, while the
// weights are still those that sampled. It is a forward pass without gradients.
func (u *Updater) correctLater(trajs []Trajectory, rows []Row, miniBatches [][]int) error {
	var at []int
	for _, miniBatch := range miniBatches {
		at = append(at, mine(u.group(), trajs, miniBatch)...)
	}
	seqs := make([]train.Sequence, len(at))
	for k, i := range at {
		seqs[k] = trajs[i].sequence()
		seqs[k].NoGradient = true
	}
	_, err := u.Trainer.Accumulate(seqs, func(seq int, logp, _, _, _ []float32) error {
		rows[at[seq]].correct(widen(logp), u.ImportanceCap)
		return nil
	})
	return err
}

// importanceSums are the sums that ImportanceStats come from.
type importanceSums struct {
	Mean, Truncated, N float64
	Corrected          bool
}

// importance describes the weights of rows; nil where none was set.
func (u *Updater) importance(trajs []Trajectory, rows []Row) (*ImportanceStats, error) {
	var s importanceSums
	for i, r := range rows {
		if dist.Owner(u.group(), trajs[i].Group) != u.group().Rank() {
			continue
		}
		s.Corrected = s.Corrected || r.weight != nil
		for k := range r.old {
			w := 1.0
			if r.weight != nil {
				w = r.weight[k]
			}
			if w == u.ImportanceCap {
				s.Truncated++
			}
			s.Mean += w
			s.N++
		}
	}
	s, err := summed(u.group(), s, func(to *importanceSums, more importanceSums) {
		to.Mean, to.Truncated, to.N = to.Mean+more.Mean, to.Truncated+more.Truncated, to.N+more.N
		to.Corrected = to.Corrected || more.Corrected
	})
	if err != nil || !s.Corrected {
		return nil, err
	}
	return &ImportanceStats{Mean: s.Mean / s.N, Truncated: s.Truncated / s.N}, nil
}
