package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/rl"
)

// What a stop waits for, and how long, is said as well as it is known: from the work of the phase that is done, from
// phases of earlier steps, or from whole steps.
func TestFinishing(t *testing.T) {
	now := time.Unix(0, 0)
	c := newStepClock(0, 0)
	c.now = func() time.Time { return now }
	after := func(d time.Duration, p rl.Progress) {
		now = now.Add(d)
		c.progress(p)
	}
	require.Equal(t, "opening", c.doing())
	after(0, rl.Progress{Phase: rl.PhaseOpening, Done: 0, Total: 2})
	after(3*time.Second, rl.Progress{Phase: rl.PhaseOpening, Done: 1, Total: 2})
	require.Equal(t, "opening 1/2 models", c.doing())
	c.start(0, 2)
	require.Equal(t, "finishing step 1, then saving it", c.finishing())

	after(0, rl.Progress{Step: 1, Phase: rl.PhaseRollout, Total: 80})
	require.Equal(t, "finishing the rollout of step 1 (0 of 80 episodes), then saving it", c.finishing())
	after(10*time.Second, rl.Progress{Step: 1, Phase: rl.PhaseRollout, Done: 20, Total: 80})
	after(0, rl.Progress{Step: 1, Phase: rl.PhaseRollout, Done: 19, Total: 80}) // of another goroutine
	require.Equal(t, "rolling out 20/80 episodes", c.doing())
	require.Equal(t,
		"finishing the rollout of step 1 (20 of 80 episodes), about 30 s, then saving it",
		c.finishing())
	require.Empty(t, c.eta())

	after(30*time.Second, rl.Progress{Step: 1, Phase: rl.PhaseUpdate, Total: 80})
	after(200*time.Second, rl.Progress{Step: 1, Phase: rl.PhaseUpdate, Done: 40, Total: 80})
	require.Equal(t, "finishing step 1 (learning, 40 of 80 trajectories), about 3 min, then saving it", c.finishing())
	now = now.Add(60 * time.Second)
	c.step(1) // after 300 s, 40 of them rollouts and 260 the update
	require.Equal(t, "5m0s", c.eta())
	after(0, rl.Progress{Step: 1, Phase: rl.PhaseSaving})
	require.Equal(t, "saving", c.doing())

	after(4*time.Second, rl.Progress{Step: 2, Phase: rl.PhaseRollout, Total: 80})
	require.Equal(t, "finishing the rollout of step 2 (0 of 80 episodes), about 40 s, then saving it", c.finishing())
	after(20*time.Second, rl.Progress{Step: 2, Phase: rl.PhaseRollout, Done: 40, Total: 80})
	require.Equal(t, "finishing the rollout of step 2 (40 of 80 episodes), about 20 s, then saving it", c.finishing())
	after(20*time.Second, rl.Progress{Step: 2, Phase: rl.PhaseUpdate, Total: 80})
	now = now.Add(200 * time.Second)
	require.Equal(t, "finishing step 2 (learning, 0 of 80 trajectories), about 60 s, then saving it", c.finishing())
	require.Equal(t, "56s", c.eta())
	c.step(2)
	require.Empty(t, c.eta(), "nothing is left")
}
