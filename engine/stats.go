package engine

import (
	"cmp"
	"slices"
	"time"
)

// Stats is what an engine has done and holds, a row a model, by name.
type Stats struct{ Models []ModelStats }

// ModelStats are counters since AddModel, and the state after the last step.
type ModelStats struct {
	Name             string
	Context          int // longest sequence in tokens
	Waiting, Running int // sequences
	Pages            int // of the cache; those neither free nor idle are in use
	FreePages        int // hold nothing
	IdlePages        int // kept for reuse only

	Steps      int64         // passes
	Replayed   int64         // of them, those that a recording of the device ran
	Unrecorded string        // why no pass is recorded any more: what the device answered; "" where nothing went wrong
	Busy       time.Duration // spent in them
	Prefilled  int64         // prompt tokens computed
	Cached     int64         // prompt tokens found in the cache
	Decoded    int64         // sampled tokens computed
	Recomputed int64         // tokens computed again after their pages had been given up; not in the two above
	Sampled    int64         // tokens drawn
	Scored     int64         // tokens scored

	Preemptions, Evictions, Copies int   // sequences sent back to wait; pages given up; pages copied
	KVBytes, WorkspaceBytes        int64 // memory: cache; scratch
}

// Stats says what the engine has done. It may be called at any time and does not wait.
func (e *Engine) Stats() Stats {
	e.mu.Lock()
	defer e.mu.Unlock()
	var s Stats
	for _, m := range e.stats {
		s.Models = append(s.Models, m)
	}
	slices.SortFunc(s.Models, func(a, b ModelStats) int { return cmp.Compare(a.Name, b.Name) })
	return s
}

// Sampled is how many ids all models together have drawn.
func (e *Engine) Sampled() (n int64) {
	for _, m := range e.Stats().Models {
		n += m.Sampled
	}
	return n
}

// publish copies the loop's counters to where Stats finds them. e.mu is held.
func (e *Engine) publish() {
	for _, r := range e.lanes {
		s, c := &r.stats, r.lane.cache
		s.Waiting, s.Running = len(r.lane.waiting), len(r.lane.running)
		s.FreePages, s.IdlePages = c.Free(), c.Idle()
		s.Preemptions, s.Evictions, s.Copies = r.lane.preemptions, c.Evictions, c.Copies
		e.stats[r.name] = *s
	}
}

// count adds a step that has ended now. Its outcomes say what of it counts for nothing.
func (f *queuedPass) count(out []outcome) (now time.Time) {
	s := &f.r.stats
	s.Steps++
	now = time.Now()
	s.Busy += now.Sub(f.since)
	s.Scored += int64(len(f.b.scores))
	for i, it := range f.plan.items {
		if out[i].dropped {
			continue
		}
		q := it.seq
		if it.ends && !q.scores {
			s.Sampled++
		}
		again := min(max(q.reached-it.start, 0), it.n)
		q.reached = max(q.reached, it.start+it.n)
		prompt := max(min(q.prompt, it.start+it.n)-it.start-again, 0)
		s.Recomputed += int64(again)
		s.Prefilled += int64(prompt)
		s.Decoded += int64(it.n - again - prompt)
		if q.fresh {
			s.Cached += int64(q.cached)
			q.fresh = false
		}
	}
	return now
}
