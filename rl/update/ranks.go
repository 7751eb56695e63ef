package update

import (
	"github.com/zerosearch-go/zerosearch/engine/dist"
	"github.com/zerosearch-go/zerosearch/engine/train"
)

// Several ranks learn from one batch. All of them have all trajectories, and compute the same advantages; reference,
// critic, loss and gradient of a trajectory are one rank's work, the same for all trajectories of a question, because
// they share the prompt.

// group is who learns.
func (u *Updater) group() dist.Group {
	if u.Ranks == nil {
		return dist.Alone()
	}
	return u.Ranks
}

// Dealt gives what f computes of each sequence. Every rank has all sequences and gives f its own: those of the
// questions (Sequence.Prefix) that are its share.
func Dealt[T any](g dist.Group, seqs []train.Sequence, f func(own []train.Sequence) ([]T, error)) ([]T, error) {
	if g.Size() == 1 {
		return f(seqs)
	}
	of := make([][]int, g.Size()) // sequences, by rank
	for i, s := range seqs {
		r := dist.Owner(g, int(s.Prefix)-1)
		of[r] = append(of[r], i)
	}
	own := make([]train.Sequence, len(of[g.Rank()]))
	for k, i := range of[g.Rank()] {
		own[k] = seqs[i]
	}
	computed, err := f(own)
	all, err := dist.Agree(g, computed, err)
	if err != nil {
		return nil, err
	}
	out := make([]T, len(seqs))
	for r, list := range of {
		for k, i := range list {
			out[i] = all[r][k]
		}
	}
	return out, nil
}

// mine are those of a list of trajectories that are this rank's.
func mine(g dist.Group, trajs []Trajectory, list []int) (own []int) {
	if g.Size() == 1 {
		return list
	}
	for _, i := range list {
		if dist.Owner(g, trajs[i].Group) == g.Rank() {
			own = append(own, i)
		}
	}
	return own
}

// summed adds up what each rank has of a sum, in the order of ranks.
func summed[T any](g dist.Group, own T, add func(to *T, more T)) (T, error) {
	all, err := dist.Share(g, own)
	if err != nil {
		return own, err
	}
	for _, x := range all[1:] {
		add(&all[0], x)
	}
	return all[0], nil
}

// belowBF16 counts what an update changed, in the samples of all ranks.
func (u *Updater) belowBF16(after, before train.BF16Sample) (changed, below int, err error) {
	var own [2]int
	own[0], own[1] = after.Compare(before)
	sum, err := summed(u.group(), own, func(to *[2]int, more [2]int) { to[0], to[1] = to[0]+more[0], to[1]+more[1] })
	return sum[0], sum[1], err
}
