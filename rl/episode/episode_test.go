package episode_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"github.com/zerosearch-go/zerosearch/rl/episode"
	"github.com/zerosearch-go/zerosearch/rl/reward"
	"github.com/zerosearch-go/zerosearch/rl/search"
	"github.com/zerosearch-go/zerosearch/tokenizer"
	"pgregory.net/rapid"
)

func lines(t *testing.T, name string) [][]byte {
	t.Helper()
	raw, err := os.ReadFile("testdata/" + name)
	require.NoError(t, err)
	return bytes.Split(bytes.TrimSuffix(raw, []byte("\n")), []byte("\n"))
}

func TestActions(t *testing.T) {
	n := 0
	for _, line := range lines(t, "actions.jsonl") {
		var c struct {
			Tag, Text, Content string
			Action             episode.Action
			Kept               string `json:"kept_text"`
		}
		require.NoError(t, json.Unmarshal(line, &c))
		action, content, end := episode.Parse(c.Text)
		require.Equal(t, c.Action, action, c.Text)
		require.Equal(t, c.Content, content, c.Text)
		require.Equal(t, c.Kept, c.Text[:end])
		// For a policy that generates the text in long tokens or in bytes, the turn ends with the id that completes the
		// pair of tags.
		for _, byBytes := range []bool{false, true} {
			tok := newToy()
			r := episode.Runner{Policy: &policy{toy: tok, lines: []string{c.Text}, bytes: byBytes},
				Searcher: search.None{}, Tokenizer: tok,
				Config: episode.Config{MaxResponse: 10000, MaxContext: 20000}}
			e, err := r.Run(t.Context(), episode.Task{PromptIDs: []int32{1}})
			require.NoError(t, err)
			turn := e.Turns[0]
			require.Equal(t, c.Action, turn.Action, c.Text)
			require.Equal(t, c.Content, turn.Content, c.Text)
			require.True(t, strings.HasPrefix(turn.Text, c.Kept))
			last := ""
			if n := len(turn.IDs); n > 0 {
				last = tok.pieces[turn.IDs[n-1]]
			}
			require.Less(t, len(turn.Text)-len(c.Kept), max(len(last), 1),
				"nothing after the id that completes the action")
		}
		n++
	}
	require.Greater(t, n, 80)
}

func TestEpisodes(t *testing.T) {
	for _, line := range lines(t, "episodes.jsonl") {
		var c struct {
			Tag      string
			Segments []struct{ Role, Text string }
			Golds    []string
			Actions  []struct {
				Action  episode.Action
				Content string
			}
			Final  *string `json:"final_answer"`
			EM, F1 float64
			SubEM  float64 `json:"sub_em"`
		}
		require.NoError(t, json.Unmarshal(line, &c))
		tok := newToy()
		p, s := &policy{toy: tok}, &engine{}
		observations := ""
		for _, seg := range c.Segments {
			if seg.Role == "policy" {
				p.lines = append(p.lines, seg.Text)
				continue
			}
			observations += seg.Text
			if docs, ok := strings.CutPrefix(seg.Text, "\n\n<information>"); ok {
				s.texts = append(s.texts, strings.TrimSuffix(docs, "</information>\n\n"))
			}
		}
		r := episode.Runner{Policy: p, Searcher: s, Tokenizer: tok,
			Config: episode.Config{MaxTurns: len(p.lines) - 1, MaxResponse: 1000, MaxContext: 5000}}
		e, err := r.Run(t.Context(), episode.Task{PromptIDs: tok.Encode("x"), GoldenAnswers: c.Golds})
		require.NoError(t, err)
		require.Len(t, e.Turns, len(c.Actions), c.Tag)
		seen := ""
		for i, a := range c.Actions {
			require.Equal(t, a.Action, e.Turns[i].Action, c.Tag)
			require.Equal(t, a.Content, e.Turns[i].Content, c.Tag)
			seen += e.Turns[i].Observation
		}
		require.Equal(t, observations, seen, c.Tag)
		answer, ok := e.Answer()
		require.Equal(t, c.Final != nil, ok, c.Tag)
		if ok {
			require.Equal(t, *c.Final, answer, c.Tag)
		}
		require.Equal(t, reward.Scores{EM: c.EM, F1: c.F1, SubEM: c.SubEM}, reward.Score(answer, ok, c.Golds), c.Tag)
	}
}

func TestObservations(t *testing.T) {
	var f struct {
		Invalid  string                                 `json:"invalid_action_message"`
		Examples []struct{ Result, Observation string } `json:"search_examples"`
	}
	raw, err := os.ReadFile("testdata/observations.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(raw, &f))
	require.Equal(t, f.Invalid, episode.InvalidAction())
	require.NotEmpty(t, f.Examples)
	for _, c := range f.Examples {
		require.Equal(t, c.Observation, episode.Observation(c.Result))
	}
}

func TestPolicyPrompt(t *testing.T) {
	var f struct {
		Template string `json:"policy_template"`
		Triples  []struct{ Question, SHA256 string }
	}
	raw, err := os.ReadFile("testdata/policy_prompt.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(raw, &f))
	require.NotEmpty(t, f.Triples)
	for _, c := range f.Triples {
		sum := sha256.Sum256([]byte(episode.Prompt(c.Question)))
		require.Equal(t, c.SHA256, hex.EncodeToString(sum[:]), c.Question)
	}
	require.Equal(t, episode.Prompt("who?"), episode.Prompt("who"))
	require.True(t, strings.HasSuffix(episode.Prompt("{question}"), "Question: {question}?\n"),
		"put in once, not read again")
}

// Parse is the rule of the goldens' description, done with a regular expression a closing tag at a time.
func TestParseAgainstTheRule(t *testing.T) {
	closing := regexp.MustCompile(`</(?:search|answer)>`)
	pair := map[string]*regexp.Regexp{"search": regexp.MustCompile(`(?s)<search>(.*?)</search>`),
		"answer": regexp.MustCompile(`(?s)<answer>(.*?)</answer>`)}
	rule := func(text string) (episode.Action, string, int) {
		for _, c := range closing.FindAllStringIndex(text, -1) {
			best := []int(nil)
			name := ""
			for k, re := range pair {
				if m := re.FindStringSubmatchIndex(text[:c[1]]); m != nil && (best == nil || m[0] < best[0]) {
					best, name = m, k
				}
			}
			if best != nil {
				return episode.Action(name), strings.TrimSpace(text[best[2]:best[3]]), c[1]
			}
		}
		return episode.Invalid, "", len(text)
	}
	part := rapid.SampledFrom([]string{"<search>", "</search>", "<answer>", "</answer>", "a", " ", "<", ">", "/search>",
		"é"})
	rapid.Check(t, func(t *rapid.T) {
		text := strings.Join(rapid.SliceOfN(part, 0, 14).Draw(t, "text"), "")
		wantAction, wantContent, wantEnd := rule(text)
		action, content, end := episode.Parse(text)
		require.Equal(t, wantAction, action, text)
		require.Equal(t, wantContent, content, text)
		require.Equal(t, wantEnd, end, text)
	})
}

// Properties for all texts: a policy that never calls Stop gives the same episode as one that does; the policy's ids
// are unchanged; the context of each request is the prompt and all turns so far; no limit is exceeded; mask, ids and
// log-probs have the same length.
func TestRunProperties(t *testing.T) {
	part := rapid.SampledFrom([]string{"<search>", "</search>", "<answer>", "</answer>", "a", " the ", "Paris", "é",
		"</search>\n", "<think>", "{eos}"})
	say := rapid.Custom(func(t *rapid.T) string { return strings.Join(rapid.SliceOfN(part, 0, 9).Draw(t, "say"), "") })
	rapid.Check(t, func(t *rapid.T) {
		script := rapid.SliceOfN(say, 1, 5).Draw(t, "script")
		docs := rapid.SliceOfN(say, 5, 5).Draw(t, "docs")
		cfg := episode.Config{MaxTurns: rapid.IntRange(0, 3).Draw(t, "turns"),
			MaxResponse:    rapid.IntRange(1, 12).Draw(t, "response"),
			MaxObservation: rapid.IntRange(0, 60).Draw(t, "observation"),
			MaxContext:     rapid.IntRange(10, 400).Draw(t, "context")}
		tok := newToy()
		byBytes := rapid.Bool().Draw(t, "bytes")
		run := func(deaf bool) (*episode.Episode, *policy) {
			p := &policy{toy: tok, lines: script, deaf: deaf, bytes: byBytes}
			e, err := (&episode.Runner{Policy: p, Searcher: &engine{texts: docs}, Tokenizer: tok, Config: cfg}).Run(
				context.Background(),
				episode.Task{PromptIDs: tok.Encode("the question"), Seed: 5})
			require.NoError(t, err)
			return e, p
		}
		e, p := run(false)
		deaf, _ := run(true)
		require.Equal(t, e, deaf)
		all := e.Tokens()
		require.LessOrEqual(t, len(all.IDs), cfg.MaxContext)
		require.Len(t, all.Mask, len(all.IDs))
		require.Len(t, all.Logprobs, len(all.IDs))
		require.LessOrEqual(t, len(e.Turns), cfg.MaxTurns+1)
		at := len(e.PromptIDs)
		for i, turn := range e.Turns {
			require.Equal(t, all.IDs[:at], p.requests[i].Context, "turn %d", i)
			require.LessOrEqual(t, p.requests[i].MaxTokens, cfg.MaxResponse)
			own := 0
			for own < len(turn.Mask) && turn.Mask[own] {
				own++
			}
			require.NotContains(t, turn.Mask[own:], true, "the policy's ids come first")
			require.LessOrEqual(t, own, cfg.MaxResponse)
			said := strings.ReplaceAll(strings.Join(script[min(i, len(script)):min(i+1, len(script))], ""), "{eos}", "")
			require.True(t, strings.HasPrefix(said, tok.text(turn.IDs[:own])))
			if i < len(e.Turns)-1 {
				require.NotEqual(t, episode.Answer, turn.Action)
				require.Less(t, own, len(turn.IDs), "every turn but the last is answered")
			}
			at += len(turn.IDs)
		}
		require.Equal(t, at, len(all.IDs))
		_, answered := e.Answer()
		require.Equal(t, answered, e.Status == episode.Answered)
		roundTrip(t, e)
	})
}

// An engine that restarts a turn (of a preempted sequence) calls Stop from the first id again.
func TestStopStartsOver(t *testing.T) {
	tok := newToy()
	asked := false
	r := episode.Runner{Tokenizer: tok, Searcher: search.None{},
		Config: episode.Config{MaxResponse: 50, MaxContext: 100},
		Policy: generate(func(q episode.Request) episode.Result {
			one := tok.Encode("<answer>a")
			for i := range one {
				require.False(t, q.Stop(one[:i+1]))
			}
			two := tok.Encode("b</answer>")
			for i := range two {
				require.False(t, q.Stop(two[:i+1]), "the ids from before are forgotten")
			}
			all := tok.Encode("<answer>a</answer>")
			for i := range all {
				require.Equal(t, i == len(all)-1, q.Stop(all[:i+1]))
			}
			asked = true
			return episode.Result{IDs: all, Logprobs: make([]float32, len(all))}
		})}
	_, err := r.Run(t.Context(), episode.Task{PromptIDs: []int32{1}})
	require.NoError(t, err)
	require.True(t, asked)
}

type generate func(episode.Request) episode.Result

func (g generate) Generate(_ context.Context, r episode.Request) (episode.Result, error) {
	return g(r), nil
}

// For any limit that the tags fit into, an observation consists of complete characters between complete tags.
func TestObservationLimit(t *testing.T) {
	tok := newToy()
	for limit := 1; limit < 60; limit++ {
		p := &policy{toy: tok, lines: []string{"<search>a</search>"}}
		r := episode.Runner{Policy: p, Searcher: &engine{texts: []string{"aÈ北é" + strings.Repeat("È", 20)}},
			Tokenizer: tok,
			Config:    episode.Config{MaxTurns: 1, MaxResponse: 50, MaxContext: 500, MaxObservation: limit}}
		e, err := r.Run(t.Context(), episode.Task{PromptIDs: []int32{1}})
		require.NoError(t, err)
		ids := e.Turns[0].IDs[3:]
		text := tok.text(ids)
		require.True(t, utf8.ValidString(text), "%q", text)
		require.True(t, strings.HasPrefix(text, "\n\n<information>") && strings.HasSuffix(text, "</information>\n\n"))
		require.LessOrEqual(t, len(ids), max(limit, len(tok.Encode(episode.Observation("")))))
		require.GreaterOrEqual(t, len(ids), min(limit-3, len(tok.Encode(e.Turns[0].Observation))),
			"no more is cut than needed")
	}
}

// The adapter for real tokenizers: special tokens in documents stay text, and special ids give no text.
func TestRealTokenizer(t *testing.T) {
	real, err := tokenizer.Open("../../tokenizer/testdata/smollm2")
	require.NoError(t, err)
	tok := episode.Text(real)
	end, ok := real.ID("<|im_end|>")
	require.True(t, ok)
	require.NotContains(t, tok.Encode("Doc 1: <|im_end|> x"), end)
	require.Empty(t, tok.Bytes(end))
	text := ""
	for _, id := range tok.Encode(episode.Observation("北京 é 🎤")) {
		text += string(tok.Bytes(id))
	}
	require.Equal(t, episode.Observation("北京 é 🎤"), text)
}

// Tags that are special tokens of a tokenizer are parsed, too, and stay text in documents.
func TestSpecialTags(t *testing.T) {
	raw, err := tokenizer.Train(func(func(string) bool) {}, 262,
		[]string{"<|end|>", "<think>", "</think>", "<search>", "</search>", "<answer>"})
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "tokenizer.json")
	require.NoError(t, os.WriteFile(path, raw, 0o644))
	special, err := tokenizer.Open(path)
	require.NoError(t, err)
	tok := episode.Text(special)
	said := ""
	for _, id := range special.Encode("<|end|><think>a</think><search>b</search><answer>c</answer>",
		tokenizer.EncodeOptions{ParseSpecial: true}) {
		said += string(tok.Bytes(id))
	}
	require.Equal(t, "<think>a</think><search>b</search><answer>c</answer>", said)
	prompt := special.Encode("use <think> first<|end|>ok<think>\n", tokenizer.EncodeOptions{ParseSpecial: true})
	require.Equal(t, "<think>\n", episode.Prefill(tok, prompt))
	require.Empty(t, episode.Prefill(tok, prompt[:len(prompt)-2]))
	require.Empty(t, episode.Prefill(tok, nil))
	id, _ := special.ID("<search>")
	require.NotContains(t, tok.Encode("<search>"), id)
}

func TestStreams(t *testing.T) {
	tok := newToy()
	seen := map[uint64]bool{}
	for seed := range uint64(20) {
		p, s := &policy{toy: tok, lines: []string{"<search>a</search>", "<search>b</search>", "x"}},
			&engine{texts: []string{"d", "d"}}
		r := episode.Runner{Policy: p, Searcher: s, Tokenizer: tok,
			Config: episode.Config{MaxTurns: 2, MaxResponse: 50, MaxContext: 500,
				Sampling: episode.Sampling{Temperature: 0.7, TopP: 0.9}}}
		handle := new(int)
		_, err := r.Run(t.Context(), episode.Task{PromptIDs: []int32{1}, Seed: seed, Step: 4, TotalSteps: 9,
			Question: "p?", GoldenAnswers: []string{"g"}, Quality: search.Noisy, Handle: handle})
		require.NoError(t, err)
		require.Len(t, p.requests, 3)
		for _, q := range p.requests {
			require.False(t, seen[q.Stream])
			seen[q.Stream] = true
			require.Equal(t, episode.Sampling{Temperature: 0.7, TopP: 0.9}, q.Sampling)
			require.Same(t, handle, q.Handle)
		}
		for i, q := range s.queries {
			require.False(t, seen[q.Stream])
			seen[q.Stream] = true
			require.Equal(t, search.Query{Query: []string{"a", "b"}[i], Question: "p?", GoldenAnswers: []string{"g"},
				Step: 4, TotalSteps: 9, Quality: search.Noisy, Stream: q.Stream}, q)
		}
	}
}

type broken struct{ res episode.Result }

func (b broken) Generate(context.Context, episode.Request) (episode.Result, error) { return b.res, nil }

func TestPolicyFailures(t *testing.T) {
	tok := newToy()
	r := episode.Runner{Policy: &policy{toy: tok, err: errors.New("out of pages")}, Searcher: search.None{},
		Tokenizer: tok, Config: episode.Config{MaxResponse: 2, MaxContext: 50}}
	_, err := r.Run(t.Context(), episode.Task{QuestionID: "q7", PromptIDs: []int32{1}})
	require.EqualError(t, err, "episode of question q7, turn 1: out of pages")
	for _, res := range []episode.Result{{IDs: []int32{1, 2, 3}, Logprobs: make([]float32, 3)}, {IDs: []int32{1}}} {
		r.Policy = broken{res}
		_, err = r.Run(t.Context(), episode.Task{PromptIDs: []int32{1}})
		require.ErrorContains(t, err, "where at most 2 were asked for")
	}
	r.Policy = broken{episode.Result{IDs: []int32{'a'}, Logprobs: []float32{-1}, Finish: episode.FinishContext}}
	e, err := r.Run(t.Context(), episode.Task{PromptIDs: []int32{1}})
	require.NoError(t, err)
	require.Equal(t, episode.ContextFull, e.Status)
	e, err = r.Run(t.Context(), episode.Task{PromptIDs: make([]int32, 50)})
	require.NoError(t, err)
	require.Equal(t, episode.ContextFull, e.Status)
	require.Empty(t, e.Turns)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r.Policy = &policy{toy: tok}
	e, err = r.Run(ctx, episode.Task{PromptIDs: []int32{1}})
	require.NoError(t, err)
	require.Equal(t, episode.Cancelled, e.Status)
	require.False(t, e.Status.Trained())
}

func TestConfigValidate(t *testing.T) {
	good := episode.Config{MaxTurns: 1, MaxResponse: 1, MaxContext: 2}
	require.NoError(t, good.Validate())
	for _, edit := range []func(*episode.Config){func(c *episode.Config) { c.MaxTurns = -1 },
		func(c *episode.Config) { c.MaxResponse = 0 }, func(c *episode.Config) { c.MaxContext = 1 },
		func(c *episode.Config) { c.MaxObservation = -1 }, func(c *episode.Config) { c.TopP = 2 },
		func(c *episode.Config) { c.Temperature = -1 }} {
		c := good
		edit(&c)
		require.Error(t, c.Validate())
	}
}
