package main

import (
	"fmt"
	"sync"
	"time"
)

// stepClock knows which step of a run is under way, and about how long a step takes.
type stepClock struct {
	mu    sync.Mutex
	began time.Time
	ended time.Time // of the last step
	done  int       // steps of this process
	at    int       // the last step that is done
	total int       // the last step of the run
}

func newStepClock(from, total int) *stepClock {
	return &stepClock{began: time.Now(), at: from, total: total}
}

// step notes that a step is done.
func (c *stepClock) step(at int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.done, c.at, c.ended = c.done+1, at, time.Now()
}

// finishing says which step a stop waits for, and about how long.
func (c *stepClock) finishing() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	text := fmt.Sprintf("finishing step %d", min(c.at+1, c.total))
	if c.done > 0 {
		usual := c.ended.Sub(c.began) / time.Duration(c.done)
		text += fmt.Sprintf(", about %d s", max(1, int(time.Until(c.ended.Add(usual)).Seconds()+0.5)))
	}
	return text + ", then saving it"
}
