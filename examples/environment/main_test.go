package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/kernels/cpu"
	"github.com/zerosearch-go/zerosearch/rl"
	"github.com/zerosearch-go/zerosearch/rl/episode"
)

// letters is a tokenizer with a token a byte.
type letters struct{}

func (letters) Encode(text string) (ids []int32) {
	for _, b := range []byte(text) {
		ids = append(ids, int32(b))
	}
	return ids
}

func (letters) Bytes(id int32) []byte { return []byte{byte(id)} }

// script is a policy that says its lines, and more than it should.
type script []string

func (s *script) Generate(_ context.Context, r episode.Request) (out episode.Result, err error) {
	for _, id := range (letters{}).Encode((*s)[0]) {
		if out.IDs, out.Logprobs = append(out.IDs, id), append(out.Logprobs, -1); r.Stop(out.IDs) {
			break
		}
	}
	*s = (*s)[1:]
	return out, nil
}

// An episode with the calculator: a turn ends with the token that completes an action, the action is answered, an
// answer ends the episode, and neither what the calculator says nor a turn without an action is trained on.
func TestEpisode(t *testing.T) {
	p := &script{"hm", "I see <calculate>17 * 3</calculate> which", "<calculate>a + 1</calculate>",
		"<answer> 51 </answer>..."}
	r := episode.Runner{Policy: p, Tokenizer: letters{}, Environment: calculator{},
		Config: episode.Config{MaxTurns: 5, MaxResponse: 100, MaxContext: 1000}}
	e, err := r.Run(t.Context(), episode.Task{Question: "17 times 3", PromptIDs: letters{}.Encode("17 times 3?")})
	require.NoError(t, err)
	require.Equal(t, episode.Answered, e.Status)
	var all, trained strings.Builder
	for i, id := range e.Tokens().IDs {
		all.WriteByte(byte(id))
		if e.Tokens().Mask[i] {
			trained.WriteByte(byte(id))
		}
	}
	require.Equal(t,
		"17 times 3?hm\nWrite <calculate></calculate> or <answer></answer>.\nI see <calculate>17 * 3</calculate>"+
			"\n<result>51</result>\n<calculate>a + 1</calculate>\n<result>only whole numbers</result>\n<answer> 51 "+
			"</answer>", all.String())
	require.Equal(t, "I see <calculate>17 * 3</calculate><calculate>a + 1</calculate><answer> 51 </answer>",
		trained.String())
	answer, ok := e.Answer()
	require.True(t, ok)
	require.Equal(t, "51", answer)

	p = &script{"<calculate>1 - 2</calculate>", "<calculate>2 - 2</calculate>"}
	r.Policy, r.Config.MaxTurns = p, 1
	e, err = r.Run(t.Context(), episode.Task{})
	require.NoError(t, err)
	require.Equal(t, episode.OutOfTurns, e.Status)
	require.Equal(t, "\n<result>-1</result>\n", e.Turns[0].Observation)
}

// The action whose closing tag comes first counts.
func TestParse(t *testing.T) {
	for text, want := range map[string]struct {
		action  episode.Action
		content string
		end     int
	}{
		"<answer>1</answer><calculate>2</calculate>": {episode.Answer, "1", 18},
		"<calculate>2</calculate><answer>1</answer>": {calculate, "2", 24},
		"x <answer>1":        {episode.Invalid, "", 11},
		"</answer><answer>1": {episode.Invalid, "", 18},
	} {
		action, content, end := calculator{}.Parse(text)
		require.Equal(t, want.action, action, text)
		require.Equal(t, want.content, content, text)
		require.Equal(t, want.end, end, text)
	}
}

// A run in the environment: no simulator is opened, prompts are the calculator's, and episodes are learned from.
func TestTrain(t *testing.T) {
	dev, err := cpu.New(cpu.Options{})
	require.NoError(t, err)
	defer dev.Close()
	dir := t.TempDir()
	data := filepath.Join(dir, "q.jsonl")
	require.NoError(t, os.WriteFile(data, []byte(`{"id":"q","question":"1 + 1","golden_answers":["2"]}`+"\n"), 0o644))
	c := rl.Defaults()
	c.Policy.Model, c.Data.Data, c.Schedule.Out = "../../demo/models/policy", data, filepath.Join(dir, "run")
	c.Rollout.BatchSize, c.Rollout.N, c.Schedule.TotalSteps = 1, 2, 1
	c.Rollout.MaxResponse, c.Rollout.MaxContext = 16, 512
	tr, err := rl.New(t.Context(), dev, c, rl.WithEnvironment(calculator{}))
	require.NoError(t, err)
	defer tr.Close()
	last, err := tr.Run(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, last)
	lines, err := os.ReadFile(filepath.Join(dir, "run", "episodes.jsonl"))
	require.NoError(t, err)
	require.Contains(t, string(lines), "Write <calculate></calculate> or <answer></answer>.",
		"what the environment replied")

	c.Rollout.MaxTurns = 0
	_, err = rl.New(t.Context(), dev, c, rl.WithEnvironment(calculator{}))
	require.ErrorContains(t, err, "Rollout.MaxTurns must be at least 1")
}
