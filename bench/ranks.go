package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/zerosearch-go/zerosearch/bench/internal/measure"
	"github.com/zerosearch-go/zerosearch/engine/dist"
	"github.com/zerosearch-go/zerosearch/engine/train"
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/rl/update"
)

// group is the ranks of a run.
func (r *grpoRun) group() dist.Group {
	if r.ranks == nil {
		return dist.Alone()
	}
	return r.ranks
}

// share gives all ranks the trajectories of all; those that a rank rolled out itself are the questions at its places.
func (r *grpoRun) share(own []update.Trajectory) ([]update.Trajectory, error) {
	all, err := dist.Share(r.group(), own)
	if err != nil || len(all) == 1 {
		return own, err
	}
	out := slices.Clone(own)
	for i := range out {
		out[i] = all[dist.Owner(r.group(), i/r.t.N)][i]
	}
	return out, nil
}

// efficiency measures the step of one, a row of one rank, with several ranks: those of Group, or else goroutines that
// have a device each, of as many threads as d.
func (t GRPOTest) efficiency(ctx context.Context, o Options, d kernels.Device, threads int, one Row) (Row, error) {
	ranks := []dist.Group{t.Group}
	if t.Group == nil {
		ranks = dist.Local(t.Ranks)
	}
	rows, errs := make([]Row, len(ranks)), make([]error, len(ranks))
	var all sync.WaitGroup
	for i, g := range ranks {
		all.Go(func() { rows[i], errs[i] = t.asRank(ctx, o, d, threads, g) })
	}
	all.Wait()
	for _, err := range errs {
		if other := new(dist.RankError); err != nil && !errors.As(err, &other) {
			return one, err
		}
	}
	row := rows[0]
	row.Op = fmt.Sprintf("%s@%dranks", row.Op, t.Ranks)
	row.Ranks = t.Ranks
	_, _, before := measure.Stats(one.samples)
	_, _, after := measure.Stats(row.samples)
	row.Speedup = before / after
	row.Efficiency = row.Speedup / float64(t.Ranks)
	return row, errors.Join(errs...)
}

// asRank measures as rank g: on d, or, of goroutines, all but the first on a device of their own.
func (t GRPOTest) asRank(ctx context.Context, o Options, d kernels.Device, threads int, g dist.Group) (row Row,
	err error) {
	defer func() {
		if err != nil {
			g.Fail(err)
		}
	}()
	if t.Group == nil && g.Rank() > 0 {
		if d, _, _, err = o.open(threads); err != nil {
			return row, err
		}
		defer d.Close()
	}
	if g.Rank() > 0 {
		o.Say = func(string, ...any) {}
	}
	note, err := train.Link(d, g)
	if err != nil {
		return row, err
	}
	if note != "" {
		o.Say("%s", note)
	}
	r, err := newGRPORun(ctx, o, t, d, g)
	if err != nil {
		return row, err
	}
	defer r.close()
	return r.measure()
}

// Follow measures as a rank of t.Group that is not the first, which measures the step alone before.
func Follow(ctx context.Context, o Options, t GRPOTest) error {
	o = o.withDefaults()
	for _, threads := range o.Threads {
		if err := t.Group.Barrier(); err != nil {
			return err
		}
		d, _, _, err := o.open(threads)
		if err == nil {
			_, err = t.asRank(ctx, o, d, threads, t.Group)
			err = errors.Join(err, d.Close())
		}
		if err != nil {
			return err
		}
	}
	return nil
}
