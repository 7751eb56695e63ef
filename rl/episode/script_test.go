package episode_test

import (
	"context"
	"flag"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/zerosearch-go/zerosearch/internal/scripttest"
	"github.com/zerosearch-go/zerosearch/rl/episode"
	"github.com/zerosearch-go/zerosearch/rl/reward"
)

var update = flag.Bool("update", false, "rewrite what the scripts print")

// Each file of testdata/*.txt is one episode: a comment, the limits, the texts of the policy and the answers of the
// search engine, a divider, and the complete result: every turn with the masks of its ids, the observations, the status
// and the scores.
func TestScripts(t *testing.T) { scripttest.Run(t, "testdata/*.txt", *update, play) }

// play runs a script and prints the result.
func play(t *testing.T, script string) string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	tok := newToy()
	p := &policy{toy: tok}
	s := &engine{cancel: cancel}
	r := episode.Runner{Policy: p, Searcher: s, Tokenizer: tok,
		Config: episode.Config{MaxTurns: 2, MaxResponse: 200, MaxContext: 2000,
			Sampling: episode.Sampling{Temperature: 1}}}
	task := episode.Task{Step: 3, TotalSteps: 10, QuestionID: "q1", Question: "who?",
		PromptIDs: tok.Encode("Question: who?\n"), Seed: 1}
	for _, line := range strings.Split(strings.TrimSpace(script), "\n") {
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		key, value, ok := strings.Cut(line, ":")
		require.True(t, ok, line)
		if value = strings.TrimPrefix(value, " "); strings.HasPrefix(value, `"`) {
			var err error
			value, err = strconv.Unquote(value)
			require.NoError(t, err, line)
		}
		n, _ := strconv.Atoi(value)
		switch key {
		case "prompt":
			task.PromptIDs = tok.Encode(value)
		case "golds":
			task.GoldenAnswers = strings.Split(value, "|")
		case "max-turns":
			r.Config.MaxTurns = n
		case "max-response":
			r.Config.MaxResponse = n
		case "max-observation":
			r.Config.MaxObservation = n
		case "max-context":
			r.Config.MaxContext = n
		case "policy":
			p.lines = append(p.lines, value)
		case "search":
			s.texts = append(s.texts, value)
		default:
			t.Fatalf("unknown command %q", key)
		}
	}
	require.NoError(t, r.Config.Validate())
	e, err := r.Run(ctx, task)
	require.NoError(t, err)
	roundTrip(t, e)
	return describe(tok, e, s)
}

func describe(tok toy, e *episode.Episode, s *engine) string {
	var b strings.Builder
	fmt.Fprintf(&b, "prompt: %d ids\n", len(e.PromptIDs))
	for i, turn := range e.Turns {
		if turn.Prefill != "" {
			fmt.Fprintf(&b, "turn %d begins in the prompt: %q\n", i+1, turn.Prefill)
		}
		fmt.Fprintf(&b, "turn %d: %s %q\n", i+1, turn.Action, turn.Content)
		for from := 0; from < len(turn.IDs); {
			to := from
			for to < len(turn.IDs) && turn.Mask[to] == turn.Mask[from] {
				to++
			}
			who := map[bool]string{true: "policy 1", false: "environment 0"}[turn.Mask[from]]
			fmt.Fprintf(&b, "  mask %s x%d: %q", who, to-from, tok.text(turn.IDs[from:to]))
			if turn.IDs[to-1] == eos {
				b.WriteString(" then end of sequence")
			}
			b.WriteString("\n")
			from = to
		}
		if turn.Quality != "" {
			fmt.Fprintf(&b, "  documents: %d %s (draw %.3f, tau %v)\n", len(turn.Documents), turn.Quality, turn.Draw,
				turn.Tau)
		}
	}
	answer, answered := e.Answer()
	fmt.Fprintf(&b, "end: %s, trained on: %v, policy tokens: %d, searches asked for: %d\n", e.Status,
		e.Status.Trained(), e.PolicyTokens(), len(s.queries))
	if e.Err != "" {
		fmt.Fprintf(&b, "error: %s\n", e.Err)
	}
	fmt.Fprintf(&b, "answer: %q %v, reward: %+v\n", answer, answered, reward.Score(answer, answered, e.GoldenAnswers))
	return b.String()
}
