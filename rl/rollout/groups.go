package rollout

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/zerosearch-go/zerosearch/rl/episode"
	"github.com/zerosearch-go/zerosearch/rl/rundir"
)

// Sampled is what the rollouts of a step gave. A group is the rollouts of one question; it has a place in the batch.
// A group that cannot be trained on is rolled out again, or its place is given to another question: these are
// attempts at the place.
type Sampled struct {
	Groups [][]*episode.Episode // by place: what is trained on, nil where nothing is
	last   [][]*episode.Episode // by place: the last attempt
	All    []*episode.Episode   // every episode that was run, in the order of attempts, places and rollouts
	// what metrics of answers, searches and lengths describe, and the adaptive curriculum follows
	Counted  []*episode.Episode
	Attempts int // rounds of rollouts
	Drawn    int // questions drawn in the run, where dynamic sampling draws more than a batch a step
}

// outcome says what becomes of a group.
type outcome uint8

const (
	keep   outcome = iota
	failed         // a search failed or the run was interrupted: an error of ours, never trained on
	equal          // zero variance: all rewards are the same, nothing to compare
)

// groupOutcome says what becomes of a group: of its episodes' ends, and of their rewards.
func groupOutcome(group []*episode.Episode) outcome {
	v := equal
	for _, e := range group {
		if !e.Status.Trained() {
			return failed
		}
		if e.Reward != group[0].Reward {
			v = keep
		}
	}
	return v
}

// NewSampled sorts the episodes of a step. Of every place the last attempt counts: attempts before it were discarded,
// whatever they were rewarded with. It does not count if a search failed in it, which says nothing about the policy.
// A zero-variance group that is dropped after its last attempt counts: the policy did answer so.
func NewSampled(all []*episode.Episode, resamples bool) *Sampled {
	s := &Sampled{All: all}
	at := map[int][]*episode.Episode{}
	for _, e := range all {
		s.Attempts = max(s.Attempts, e.Attempt+1)
		g := at[e.Group]
		if len(g) > 0 && g[0].Attempt < e.Attempt {
			g = nil
		}
		if len(g) == 0 || g[0].Attempt == e.Attempt {
			at[e.Group] = append(g, e)
		}
	}
	var places []int
	for p := range at {
		places = append(places, p)
	}
	slices.Sort(places)
	for _, p := range places {
		g, v := at[p], groupOutcome(at[p])
		s.last = append(s.last, g)
		if v != failed {
			s.Counted = append(s.Counted, g...)
		}
		if v == failed || v == equal && resamples {
			g = nil
		}
		s.Groups = append(s.Groups, g)
	}
	return s
}

// Metrics say how many groups and episodes were kept. Shares are of the batch.
func (s *Sampled) Metrics() rundir.Metrics {
	var dropped, same, failures float64
	for i, g := range s.last {
		v := groupOutcome(g)
		switch {
		case v == failed:
			failures++
			dropped++
		case s.Groups[i] == nil:
			dropped++
		case v == equal:
			same++
		}
	}
	final := 0
	for _, g := range s.last {
		final += len(g)
	}
	n := float64(max(1, len(s.last)))
	return rundir.Metrics{"rollout/groups_dropped": dropped / n, "rollout/groups_failed": failures / n,
		"rollout/groups_equal": same / n,
		"rollout/episodes":     float64(len(s.All)), "rollout/episodes_discarded": float64(len(s.All) - final)}
}

// AllSearchesFailed is the error of a step in which a search failed in the last attempt of every group: it would not go
// better at the next step. Where some groups were only equal, the step changes nothing and the run goes on.
func (s *Sampled) AllSearchesFailed() error {
	why := ""
	for _, g := range s.last {
		if groupOutcome(g) != failed {
			return nil
		}
		for _, e := range g {
			if e.Status == episode.SearchFailed {
				why = cmp.Or(why, e.Err)
			}
		}
	}
	return fmt.Errorf("in every group a search failed: %s", why)
}
