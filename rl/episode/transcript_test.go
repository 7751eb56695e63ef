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
		{Kind: episode.QuestionLine, Text: "a?"}, {Kind: episode.QuestionLine, Text: "b[2J"},
		{Kind: episode.PolicyLine, Text: "<search>q</search>"},
		{Kind: episode.EnvironmentLine, Text: "Doc 1: one"}, {Kind: episode.EnvironmentLine, Text: "]0;titletwo"},
		{Kind: episode.EnvironmentLine, Text: "Doc 2: three x"},
		{Kind: episode.EnvironmentLine, Text: "(useful results, tau 0.25)"},
		{Kind: episode.PolicyLine, Text: "<think>"}, {Kind: episode.PolicyLine, Text: "so</think><answer>x</answer>"},
		{Kind: episode.PolicyLine, Text: "hm"}, {Kind: episode.EnvironmentLine, Text: "My action is not correct."},
		{Kind: episode.OutcomeLine, Text: "answered, reward 0.667, wanted: x"},
	}, e.Transcript())
}
