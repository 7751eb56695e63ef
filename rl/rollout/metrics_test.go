package rollout

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/rl/episode"
)

// A result contains an answer if one of its documents does, after normalisation; useful and noisy results are counted
// apart, and neither real engines nor questions without accepted answers are counted.
func TestHasAnswer(t *testing.T) {
	turn := func(quality string, documents ...string) episode.Turn {
		return episode.Turn{Action: episode.Search, Observation: "o", Quality: quality, Documents: documents}
	}
	eiffel := &episode.Episode{GoldenAnswers: []string{"The Eiffel Tower", "tour Eiffel"}, Turns: []episode.Turn{
		turn("useful", "Nothing.", "It is the EIFFEL-tower, no: the Eiffel  tower!"),
		turn("useful", "the Eiffel", "Tower"), // not across documents
		turn("useful"),
		turn("useful", "La Tour Eiffel."),
		turn("noisy", "The Louvre."), turn("noisy", "the eiffel tower"), turn("noisy", "Notre-Dame"),
		turn("", "the Eiffel Tower"),
	}}
	m := EpisodeMetrics([]*episode.Episode{eiffel, {Turns: []episode.Turn{turn("useful", "x"), turn("noisy", "x")}}})
	require.Equal(t, 0.5, m["search/useful_has_answer"])
	require.InDelta(t, 1/3.0, m["search/noisy_has_answer"], 1e-15)

	m = EpisodeMetrics([]*episode.Episode{{GoldenAnswers: []string{"x"}, Turns: []episode.Turn{turn("useful", "y")}}})
	require.Contains(t, m, "search/useful_has_answer")
	require.NotContains(t, m, "search/noisy_has_answer")
}

// The mean of each part of the rewards is a metric, and the F1 of the answers stays one of its own. The mean
// log-probability is over sampled tokens only.
func TestRewardParts(t *testing.T) {
	answered := func(answer string, parts map[string]float64, logprobs ...float32) *episode.Episode {
		n := len(logprobs)
		return &episode.Episode{GoldenAnswers: []string{"x"}, Status: episode.Answered, RewardParts: parts,
			Turns: []episode.Turn{{Action: episode.Answer, Content: answer, IDs: make([]int32, n+1),
				Mask: append(slices.Repeat([]bool{true}, n), false), Logprobs: append(logprobs, 0)}}}
	}
	m := EpisodeMetrics([]*episode.Episode{answered("x", map[string]float64{"score": 0.8, "search": -0.1}, -1, -2),
		answered("y", map[string]float64{"score": 0, "search": -0.3}, -6)})
	require.InDelta(t, 0.4, m["reward/part/score"], 1e-15)
	require.InDelta(t, -0.2, m["reward/part/search"], 1e-15)
	require.Equal(t, 0.5, m["reward/f1"])
	require.Equal(t, -3.0, m["rollout/logprob_mean"])
	require.NotContains(t, EpisodeMetrics([]*episode.Episode{answered("x", nil, -1)}), "reward/part/score")
}
