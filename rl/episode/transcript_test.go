package episode_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/zerosearch-go/zerosearch/rl/episode"
)

func TestTranscript(t *testing.T) {
	e := sample()
	e.Question = "a?\r\nb\x1b[2J"
	e.Turns[1].Prefill, e.Turns[1].Text = "<think>\n", "so</think><answer>x</answer>"
	e.Turns[0].Documents = []string{"one\n\n\x1b]0;title\x07two", "\u202ethree\tx"}
	e.Turns = append(e.Turns, episode.Turn{Text: " hm ", Action: episode.Invalid,
		Observation: "\nMy action is not correct.\n"})
	require.Equal(t, []episode.TranscriptLine{
		{Kind: episode.Asked, Text: "a?"}, {Kind: episode.Asked, Text: "b[2J"},
		{Kind: episode.Said, Text: "<search>q</search>"},
		{Kind: episode.Shown, Text: "Doc 1: one"}, {Kind: episode.Shown, Text: "]0;titletwo"},
		{Kind: episode.Shown, Text: "Doc 2: three x"},
		{Kind: episode.Shown, Text: "(useful results, tau 0.25)"},
		{Kind: episode.Said, Text: "<think>"}, {Kind: episode.Said, Text: "so</think><answer>x</answer>"},
		{Kind: episode.Said, Text: "hm"}, {Kind: episode.Shown, Text: "My action is not correct."},
		{Kind: episode.Judged, Text: "answered, reward 0.667, wanted: x"},
	}, e.Transcript())
}
