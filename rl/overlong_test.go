package rl

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/rl/config"
	"github.com/zerosearch-go/zerosearch/rl/episode"
)

// The overlong penalty takes from what is learned from, not from the score that is reported.
func TestOverlongPenalty(t *testing.T) {
	tr := &Trainer{Config: config.Config{Rollout: config.Rollout{MaxTurns: 1, MaxResponse: 10, MaxContext: 100},
		Algo: config.Algo{OverlongBuffer: 8, OverlongFactor: 0.5}}}
	require.Equal(t, 20, tr.Config.OverlongLimit())
	e := func(n int) *episode.Episode {
		turn := episode.Turn{IDs: make([]int32, n+3), Mask: make([]bool, n+3), Logprobs: make([]float32, n+3)}
		for i := range n {
			turn.Mask[i] = true
		}
		return &episode.Episode{PromptIDs: []int32{1}, Turns: []episode.Turn{turn}, Reward: 1}
	}
	for n, want := range map[int]float64{5: 1, 12: 1, 16: 0.75, 20: 0.5} {
		got := tr.trajectories([][]*episode.Episode{{e(n)}})
		require.Equal(t, want, got[0].Reward, n)
	}
}
