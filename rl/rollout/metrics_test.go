package rollout

import (
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
