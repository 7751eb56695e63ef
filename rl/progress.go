package rl

import (
	"sync/atomic"

	"github.com/zerosearch-go/zerosearch/rl/episode"
	"github.com/zerosearch-go/zerosearch/rl/roles"
	"github.com/zerosearch-go/zerosearch/rl/rollout"
)

// Phase is what a run is doing.
type Phase string

// The phases, in order: of the beginning, then of each step.
const (
	// PhaseOpening loads the models, one after the other.
	PhaseOpening Phase = "opening"
	// PhaseRollout runs the episodes of a step.
	PhaseRollout Phase = "rolling out"
	// PhaseUpdate learns from the trajectories of a step, each of which it visits once an epoch.
	PhaseUpdate Phase = "learning"
	// PhaseEvaluation answers the held-out questions.
	PhaseEvaluation Phase = "evaluating"
	// PhaseSaving writes a checkpoint.
	PhaseSaving Phase = "saving"
)

// Progress is how far a run is within a step.
type Progress struct {
	Step  int // 0 while the run is being opened
	Phase Phase
	// Done of Total models, episodes, trajectories or questions are done; Total 0: nothing is counted.
	Done, Total int
}

// WithProgress calls f as the work goes on, from the opening of the models on. f may be called by several goroutines at
// once.
func WithProgress(f func(Progress)) Option {
	return func(t *Trainer) { t.onProgress = f }
}

// progress says how far the run is.
func (t *Trainer) progress(step int, phase Phase, done, total int) {
	if t.onProgress != nil {
		t.onProgress(Progress{step, phase, done, total})
	}
}

// openedModels says that n more models are open.
func (t *Trainer) openedModels(n int) {
	total := 1
	for _, role := range []*roles.Role{t.cast.Reference, t.cast.Critic, t.cast.Simulator} {
		if role != nil {
			total++
		}
	}
	t.opened += n
	t.progress(0, PhaseOpening, t.opened, total)
}

// count makes w say how many of total episodes are done, from done on.
func (t *Trainer) count(w *rollout.Worker, step int, phase Phase, done, total int) {
	if t.onProgress == nil {
		return
	}
	t.progress(step, phase, done, total)
	var n atomic.Int64
	n.Store(int64(done))
	w.OnEpisode = func(*episode.Episode) { t.progress(step, phase, int(n.Add(1)), total) }
}
