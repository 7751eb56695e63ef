package main

import (
	"cmp"
	"fmt"
	"sync"
	"time"

	"github.com/zerosearch-go/zerosearch/rl"
)

// stepClock knows what a run is doing, and about how long that takes.
type stepClock struct {
	mu    sync.Mutex
	now   func() time.Time
	began time.Time
	ended time.Time // of the last step
	done  int       // steps of this process
	at    int       // the last step that is done
	total int       // the last step of the run

	phase rl.Progress
	since time.Time                // the beginning of the phase
	took  map[rl.Phase]phaseLength // phases that are over
}

// phaseLength is the time of all phases of one kind so far, and their number.
type phaseLength struct {
	sum time.Duration
	n   int
}

func newStepClock(from, total int) *stepClock {
	c := &stepClock{now: time.Now, at: from, total: total, took: map[rl.Phase]phaseLength{}}
	c.began = c.now()
	c.since = c.began
	return c
}

// start is called when the run is open and begins with its steps.
func (c *stepClock) start(from, total int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at, c.total = from, total
	c.enter(rl.Progress{Step: from + 1})
	c.began = c.since
}

// step notes that a step is done.
func (c *stepClock) step(at int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.done, c.at, c.ended = c.done+1, at, c.now()
	c.enter(rl.Progress{Step: at + 1})
}

// progress notes how far a step is.
func (c *stepClock) progress(p rl.Progress) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p.Step != c.phase.Step || p.Phase != c.phase.Phase || p.Total != c.phase.Total {
		c.enter(p)
	}
	p.Done = max(p.Done, c.phase.Done) // two goroutines may come in either order
	c.phase = p
}

// enter ends a phase and begins the next.
func (c *stepClock) enter(p rl.Progress) {
	now := c.now()
	if t := c.took[c.phase.Phase]; c.phase.Phase != "" {
		c.took[c.phase.Phase] = phaseLength{t.sum + now.Sub(c.since), t.n + 1}
	}
	c.phase, c.since = p, now
	c.phase.Done = 0
}

// unitOf names what a phase counts; phases that count nothing are not in it.
var unitOf = map[rl.Phase]string{rl.PhaseOpening: "models", rl.PhaseRollout: "episodes",
	rl.PhaseUpdate: "trajectories", rl.PhaseEvaluation: "questions"}

// doing says in words what the run is doing: "rolling out 34/80 episodes".
func (c *stepClock) doing() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.phase
	switch {
	case p.Phase == "" && p.Step > 0:
		return "beginning"
	case p.Total == 0:
		return string(cmp.Or(p.Phase, rl.PhaseOpening))
	}
	return fmt.Sprintf("%s %d/%d %s", p.Phase, p.Done, p.Total, unitOf[p.Phase])
}

// next is the step under way.
func (c *stepClock) next() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return min(c.at+1, c.total)
}

// phaseBegan is when the phase under way began.
func (c *stepClock) phaseBegan() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.since
}

// left is about how long the phase will take from now on; false where that is not known yet.
func (c *stepClock) left() (time.Duration, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.remaining()
}

func (c *stepClock) remaining() (time.Duration, bool) {
	p, spent := c.phase, c.now().Sub(c.since)
	if p.Done > 0 {
		return spent * time.Duration(p.Total-p.Done) / time.Duration(p.Done), true
	}
	before := c.took[p.Phase]
	return max(0, before.sum/time.Duration(max(1, before.n))-spent), before.n > 0
}

// eta is about how long the run will take from now on; "" where that is not known yet.
func (c *stepClock) eta() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done == 0 || c.at >= c.total {
		return ""
	}
	usual := c.ended.Sub(c.began) / time.Duration(c.done)
	left := usual*time.Duration(c.total-c.at) - c.now().Sub(c.ended)
	return max(0, left).Round(time.Second).String()
}

// finishing says what a stop waits for, and about how long.
func (c *stepClock) finishing() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	text := fmt.Sprintf("finishing step %d", min(c.at+1, c.total))
	seconds := func(d time.Duration) string {
		if d < 2*time.Minute {
			return fmt.Sprintf("%d s", max(1, int(d.Seconds()+0.5)))
		}
		return fmt.Sprintf("%d min", int(d.Minutes()+0.5))
	}
	switch p := c.phase; {
	case p.Phase == rl.PhaseRollout: // a stop comes before the update
		text = fmt.Sprintf("finishing the rollout of step %d (%d of %d episodes)", p.Step, p.Done, p.Total)
	case p.Total > 0:
		text += fmt.Sprintf(" (%s, %d of %d %s)", p.Phase, p.Done, p.Total, unitOf[p.Phase])
	}
	if left, known := c.remaining(); known {
		text += ", about " + seconds(left)
	} else if c.done > 0 {
		usual := c.ended.Sub(c.began) / time.Duration(c.done)
		text += ", about " + seconds(c.ended.Add(usual).Sub(c.now()))
	}
	return text + ", then saving it"
}
