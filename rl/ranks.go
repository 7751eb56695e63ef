package rl

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"

	"github.com/zerosearch-go/zerosearch/engine/dist"
	"github.com/zerosearch-go/zerosearch/internal/await"
	"github.com/zerosearch-go/zerosearch/internal/fingerprint"
	"github.com/zerosearch-go/zerosearch/rl/episode"
	"github.com/zerosearch-go/zerosearch/rl/rollout"
	"github.com/zerosearch-go/zerosearch/rl/rundir"
	"github.com/zerosearch-go/zerosearch/rl/search"
)

// A run of several ranks is the same loop in every process. Each rank rolls out the questions at its places of the
// batch and gives the episodes to all; from then on all know the whole step and decide alike. Rank 0 alone has the run
// directory: it reads and writes for all.

// WithRanks runs with the other processes of a group, all of which are given the same configuration. The caller closes
// the group, and calls its Fail when New or Run returns an error.
func WithRanks(g dist.Group) Option {
	return func(t *Trainer) { t.ranks = g }
}

// group is who trains together.
func (t *Trainer) group() dist.Group {
	if t.ranks == nil {
		return dist.Alone()
	}
	return t.ranks
}

// saves reports whether the run is written, by this rank or by rank 0.
func (t *Trainer) saves() bool {
	return t.Out != nil || t.group().Rank() > 0 && t.Config.Schedule.Out != ""
}

// own are those places of a batch of n, of the places in only (nil: all), at which this rank rolls out.
func (t *Trainer) own(only []int, n int) []int {
	g := t.group()
	if g.Size() == 1 {
		return only
	}
	own := []int{}
	for i := range n {
		if dist.Owner(g, i) == g.Rank() && (only == nil || slices.Contains(only, i)) {
			own = append(own, i)
		}
	}
	return own
}

// rolled is what a rank rolled out: the lines of its episodes, or why there are none.
type rolled struct {
	Lines  []byte
	Failed string
	Gone   *search.Unavailable // without its Err, which Failed has
	Late   bool                // rollout.ErrStopped
}

// shareGroups gives all ranks the episodes of all, by place. An error of one rank is an error of all.
func (t *Trainer) shareGroups(groups [][]*episode.Episode, err error) ([][]*episode.Episode, error) {
	g := t.group()
	if g.Size() == 1 {
		return groups, err
	}
	own := rolled{Late: errors.Is(err, rollout.ErrStopped)}
	if err == nil {
		own.Lines, err = lines(slices.Concat(groups...))
	}
	if gone := new(search.Unavailable); errors.As(err, &gone) {
		own.Gone = &search.Unavailable{Engine: gone.Engine, Host: gone.Host, Tries: gone.Tries}
	}
	if err != nil {
		own.Failed = err.Error()
	}
	all, failed := dist.Share(g, own)
	if failed != nil || err != nil {
		return nil, errors.Join(err, failed)
	}
	out := make([][]*episode.Episode, len(groups))
	for r, x := range all {
		if x.Failed != "" {
			return nil, x.error(r)
		}
		for e, err := range episode.Read(fmt.Sprintf("the episodes of rank %d", r), bytes.NewReader(x.Lines)) {
			if err != nil {
				return nil, err
			}
			out[e.Group] = append(out[e.Group], e)
		}
	}
	return out, nil
}

// error is the error of another rank.
func (x *rolled) error(rank int) error {
	err := error(&dist.RankError{Rank: rank, Text: x.Failed})
	if x.Late {
		err = fmt.Errorf("%w: %w", err, rollout.ErrStopped)
	}
	if x.Gone != nil {
		x.Gone.Err = err
		return x.Gone
	}
	return err
}

// lines are episodes as episodes.jsonl has them.
func lines(all []*episode.Episode) ([]byte, error) {
	var text bytes.Buffer
	for _, e := range all {
		line, err := e.Line()
		if err != nil {
			return nil, err
		}
		text.Write(line)
	}
	return text.Bytes(), nil
}

// answer runs an episode for each held-out question, every rank those of its places.
func (t *Trainer) answer(ctx context.Context, w *rollout.Worker, step int) ([]*episode.Episode, error) {
	questions := t.Data.Eval
	done := make([]*episode.Episode, len(questions))
	own := t.own(nil, len(questions)) // nil: all
	if own != nil {
		for i := range done {
			done[i] = &episode.Episode{} // of another rank
		}
		for _, i := range own {
			done[i] = nil
		}
	}
	t.count(w, step, PhaseEvaluation, 0, len(questions)/t.group().Size())
	all, err := w.EvaluateRest(ctx, questions, done, episode.Sampling{}, t.Config.Schedule.Seed, step)
	if err == nil {
		err = ctx.Err() // episodes that were cut short are no measurement
	}
	if own == nil || err != nil && t.group().Size() == 1 {
		return all, err
	}
	groups := make([][]*episode.Episode, len(questions))
	for _, i := range own {
		if err == nil {
			groups[i] = all[i : i+1]
		}
	}
	if groups, err = t.shareGroups(groups, err); err != nil {
		return nil, err
	}
	return slices.Concat(groups...), nil
}

// costs adds up what every rank paid for searches.
func (t *Trainer) costs(own map[string]search.Cost) (map[string]search.Cost, error) {
	all, err := dist.Share(t.group(), own)
	if err != nil || len(all) == 1 {
		return own, err
	}
	sum := map[string]search.Cost{}
	for _, by := range all {
		for name, c := range by {
			sum[name] = sum[name].Add(c)
		}
	}
	return sum, nil
}

// sameEverywhere refuses ranks that would not train the same run: other programs, settings or contents.
func (t *Trainer) sameEverywhere(ctx context.Context, now fingerprint.Parts) error {
	g := t.group()
	if g.Size() == 1 {
		return nil
	}
	own := maps.Clone(now)
	path, err := os.Executable()
	if err == nil {
		_, err = await.Call(ctx, func() (struct{}, error) { return struct{}{}, own.File("program", path) })
	}
	if err != nil {
		return fmt.Errorf("comparing the ranks: %w", err)
	}
	own["total-steps"] = fmt.Sprint(t.Config.Schedule.TotalSteps)
	own["eval-data"] = t.heldOut()
	all, err := dist.Share(g, own)
	if err != nil {
		return err
	}
	for r, x := range all {
		if x["program"] != all[0]["program"] {
			return fmt.Errorf("rank %d is another program than rank 0: all hosts need the same file zerosearch", r)
		}
		if changed := fingerprint.Compare(all[0], x); len(changed) > 0 {
			return fmt.Errorf("rank %d does not train the same run as rank 0: %s: all ranks need the same program, "+
				"flags, models and data", r, fingerprint.Sentence(changed))
		}
	}
	return nil
}

// shareRollout gives the other ranks the rollout of the step that the run goes on with, if rank 0 has it.
func (t *Trainer) shareRollout() error {
	g := t.group()
	if g.Size() == 1 {
		return nil
	}
	var own struct {
		Header *savedRollout
		Lines  []byte
	}
	var err error
	if own.Header = t.saved; t.saved != nil {
		own.Lines, err = lines(t.saved.all)
	}
	all, err := dist.Agree(g, own, err)
	if err != nil || g.Rank() == 0 || all[0].Header == nil {
		return err
	}
	t.saved = all[0].Header
	t.saved.Cost = nil // rank 0 counts it
	for e, err := range episode.Read("the rollout of rank 0", bytes.NewReader(all[0].Lines)) {
		if err != nil {
			return err
		}
		t.saved.all = append(t.saved.all, e)
	}
	return nil
}

// ranksChanged says that a run goes on with another number of ranks.
func (t *Trainer) ranksChanged(st *rundir.State) {
	was, now := max(1, st.Ranks), t.group().Size()
	if was != now {
		t.Notes = append(t.Notes, fmt.Sprintf("the checkpoint was computed by %d ranks, and %d go on: from here "+
			"the bits are those of %d", was, now, now))
	}
}
