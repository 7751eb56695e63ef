package agent_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zerosearch-go/zerosearch/rl/assistant"
	"github.com/zerosearch-go/zerosearch/rl/episode"
	"github.com/zerosearch-go/zerosearch/rl/eval"
	"github.com/zerosearch-go/zerosearch/rl/rollout"
	"github.com/zerosearch-go/zerosearch/rl/search"
	"github.com/zerosearch-go/zerosearch/serve"
	"github.com/zerosearch-go/zerosearch/serve/agent"
	"github.com/zerosearch-go/zerosearch/tokenizer"
)

// scripted is a policy that writes the texts one after the other, a byte at a time, and keeps what it was asked.
type scripted struct {
	tok     *tokenizer.Tokenizer
	texts   []string
	prompts []string
	asked   []episode.Request
}

func (s *scripted) Generate(_ context.Context, r episode.Request) (episode.Result, error) {
	s.prompts, s.asked = append(s.prompts, s.tok.Decode(r.Context, false)), append(s.asked, r)
	var out episode.Result
	text := s.texts[0]
	s.texts = s.texts[1:]
	for _, id := range s.tok.Encode(text, tokenizer.EncodeOptions{}) {
		if len(out.IDs) == r.MaxTokens {
			break
		}
		out.IDs, out.Logprobs = append(out.IDs, id), append(out.Logprobs, 0)
		if r.Stop(out.IDs) {
			break
		}
	}
	return out, nil
}

// failing is a search engine that does not answer.
type failing struct{}

func (failing) Search(context.Context, search.Query) (search.Documents, error) {
	return search.Documents{}, errors.New("no line")
}

// newAgent is an agent over a folder of two documents.
func newAgent(t *testing.T, o assistant.Options, texts ...string) (agent.Agent, *scripted) {
	t.Helper()
	raw, err := tokenizer.Train(func(func(string) bool) {}, 258, []string{"<|user|>", "<|end|>"})
	require.NoError(t, err)
	t.Chdir(t.TempDir())
	require.NoError(t, os.WriteFile("tokenizer.json", raw, 0o644))
	tok, err := tokenizer.Open("tokenizer.json")
	require.NoError(t, err)
	tmpl, err := tok.ParseTemplate("{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}")
	require.NoError(t, err)
	require.NoError(t, os.Mkdir("docs", 0o755))
	for name, text := range map[string]string{
		"bridge.md": "# The old bridge\nThe old bridge was designed by Anna Berg and opened in 1931.\n\n# Repairs\nThe " +
			"railings of the bridge were painted green in 2003.",
		"harbour.txt": "The harbour was built by Otto Lund. It closes at noon.\n",
	} {
		require.NoError(t, os.WriteFile(filepath.Join("docs", name), []byte(text), 0o644))
	}
	policy := &scripted{tok: tok, texts: texts}
	o.Corpus, err = search.ReadCorpus("docs")
	require.NoError(t, err)
	o.Documents = true
	searcher := o.Worker.Runner.Searcher
	if searcher == nil {
		searcher = search.NewBM25(o.Corpus.Passages)
	}
	o.Worker = rollout.Worker{Prompter: rollout.Prompter{Tokenizer: tok, Template: tmpl, MaxTokens: 4000},
		Concurrency: 1, Runner: episode.Runner{Policy: policy, Searcher: searcher,
			Tokenizer: episode.Text(tok), Config: episode.Config{MaxTurns: 2, MaxResponse: 1000, MaxContext: 20000}}}
	return agent.New(assistant.New(o)), policy
}

func user(text string) tokenizer.Message { return tokenizer.Message{Role: "user", Content: text} }

// steps are the steps of an answer, as JSON without the ids of calls, texts joined.
func steps(t *testing.T, a agent.Agent, r serve.AgentRequest) (lines []string, thought, content string,
	out serve.AgentAnswer) {
	t.Helper()
	call := ""
	out, err := a.Answer(t.Context(), r, func(s serve.AgentStep) error {
		thought, content = thought+s.Thought, content+s.Content
		switch {
		case s.Method != "":
			lines = append(lines, s.Method)
		case s.Call != nil:
			call = s.Call.ID
			lines = append(lines, s.Call.Function.Name+s.Call.Function.Arguments)
		case s.Documents != nil:
			require.Equal(t, call, s.Documents.CallID)
			b, err := json.Marshal(s.Documents.Documents)
			require.NoError(t, err)
			lines = append(lines, string(b))
		}
		return nil
	})
	require.NoError(t, err)
	return lines, thought, content, out
}

const bridgeDocument = `{"id":1,"title":"bridge: The old bridge","source":"docs/bridge.md","number":1,` +
	`"passage":"The old bridge was designed by Anna Berg and opened in 1931.","cited":false}`

// The search agent's thoughts, searches and answer come apart, and add up to the whole.
func TestAgent(t *testing.T) {
	a, policy := newAgent(t, assistant.Options{Method: eval.Agent, Style: assistant.Short, TopK: 0},
		"<think>Who built\nit?</think> <search>old \"bridge\"</search>", "nothing", "<think> Now I know. </think>"+
			"<answer> Anna Berg </answer>")
	lines, thought, content, out := steps(t, a, serve.AgentRequest{Messages: []tokenizer.Message{
		{Role: "system", Content: "Be kind."}, user("Where is the harbour?"), {Role: "assistant", Content: "Here [1]."},
		{Role: "tool", Content: "ignored"}, user("Who designed it")}, Temperature: 0.5, TopP: 0.9, Seed: 3,
		Options: json.RawMessage(`{"topk":1,"style":null}`)})
	require.Equal(t, []string{"agent", `search{"query":"old \"bridge\""}`, "[" + bridgeDocument + "]"}, lines)
	require.Equal(t, "Who built\nit?\n\nNow I know.", thought)
	require.Equal(t, "Anna Berg", content)
	require.True(t, out.Supported)
	require.Equal(t, "agent answered", out.Method+" "+out.Status)
	require.Len(t, out.Turns, 2)
	require.Equal(t, "Who built\nit?", out.Turns[0].Thought)
	require.True(t, out.Turns[0].Documents[0].Cited)
	require.Nil(t, out.Turns[1].Call)
	require.True(t, strings.HasPrefix(policy.prompts[0],
		"[system] Be kind.\n[user] Where is the harbour?\n[assistant] Here.\n[user] "), policy.prompts[0])
	require.Equal(t, episode.Sampling{Temperature: 0.5, TopP: 0.9}, policy.asked[0].Sampling)
	last := policy.asked[2]
	written := len("<think>Who built\nit?</think> <search>old \"bridge\"</search>") + len("nothing") +
		len("<think> Now I know. </think><answer> Anna Berg </answer>")
	require.Equal(t, written, out.CompletionTokens, "a token is a byte")
	require.Equal(t, len(last.Context)-written+len("<think> Now I know. </think><answer> Anna Berg </answer>"),
		out.PromptTokens)
}

// Where auto finds no answer in turns it retrieves once: the trace is that of the retrieval. A longer text cites
// documents by the ids of the trace.
func TestAutoAndReport(t *testing.T) {
	a, _ := newAgent(t, assistant.Options{Method: assistant.Auto, Trained: true, Style: assistant.Short},
		"<answer>not clo", "", "", "Anna Berg\nand more")
	lines, _, content, out := steps(t, a, serve.AgentRequest{Messages: []tokenizer.Message{user("Who designed the bridge?")},
		Options: json.RawMessage(`{"topk":1}`)})
	require.Equal(t, []string{"agent", "rag", `search{"query":"Who designed the bridge?"}`, "[" + bridgeDocument + "]"},
		lines)
	require.Equal(t, "Anna Berg", content)
	require.Equal(t, "rag", out.Method)

	const text = "The old bridge was designed by Anna Berg. The harbour was built by Otto Lund."
	a, _ = newAgent(t, assistant.Options{Method: eval.Agent, Style: assistant.Report},
		"<search>bridge Berg</search>", "<search>harbour Lund</search>", "<answer>x</answer>", text)
	lines, _, content, out = steps(t, a, serve.AgentRequest{Messages: []tokenizer.Message{user("Who built what?")},
		Options: json.RawMessage(`{"topk":1}`)})
	require.Len(t, lines, 5, "what the text is written from is not searched again")
	require.Equal(t, "The old bridge was designed by Anna Berg. [1] The harbour was built by Otto Lund. [2]",
		strings.ReplaceAll(content, ". [", ". ["))
	require.Len(t, out.Turns, 2)
	require.Equal(t, 2, out.Turns[1].Documents[0].ID)
	require.True(t, out.Turns[1].Documents[0].Cited)
	require.True(t, out.Supported)
}

// The limit of tokens holds for all turns together.
func TestAgentMaxTokens(t *testing.T) {
	a, policy := newAgent(t, assistant.Options{Method: eval.Agent, Style: assistant.Short},
		"<search>bridge</search>", "<answer>Anna Berg</answer>")
	_, _, content, out := steps(t, a, serve.AgentRequest{Messages: []tokenizer.Message{user("Who?")}, MaxTokens: 36})
	require.Equal(t, "Anna", content)
	require.True(t, out.Cut)
	require.Equal(t, 36, out.CompletionTokens)
	require.Equal(t, 36-len("<search>bridge</search>"), policy.asked[1].MaxTokens)
}

// What is wrong with a request is the client's fault; an engine that fails is not; a client that goes ends the answer.
func TestAgentErrors(t *testing.T) {
	for _, c := range []struct {
		options, want string
		messages      []tokenizer.Message
	}{
		{"", "the request has no question", []tokenizer.Message{user(" ")}},
		{"", "the last message is not the user's", []tokenizer.Message{user("a"), {Role: "assistant", Content: "b"}}},
		{"", `messages[0] has the role "critic"`, []tokenizer.Message{{Role: "critic", Content: "b"}, user("a")}},
		{"", "has a prompt of", []tokenizer.Message{user(strings.Repeat("long ", 1000))}},
		{`{"method":"cot"}`, `method "cot" is not known`, []tokenizer.Message{user("a")}},
		{`{"topk":0}`, "topk must be a number from 1 to 100", []tokenizer.Message{user("a")}},
		{`{"turns":1}`, "zerosearch has method, style and topk", []tokenizer.Message{user("a")}},
	} {
		a, _ := newAgent(t, assistant.Options{Method: eval.Agent, Style: assistant.Short})
		r := serve.AgentRequest{Messages: c.messages}
		if c.options != "" {
			r.Options = json.RawMessage(c.options)
		}
		_, err := a.Answer(t.Context(), r, nil)
		require.ErrorContains(t, err, c.want)
		require.Equal(t, "*serve.apiError", fmt.Sprintf("%T", err), c.want)
	}
	o := assistant.Options{Method: eval.Agent, Style: assistant.Short}
	broken := o
	broken.Worker.Runner.Searcher = failing{}
	b, _ := newAgent(t, broken, "<search>a</search>")
	_, err := b.Answer(t.Context(), serve.AgentRequest{Messages: []tokenizer.Message{user("a")}},
		func(serve.AgentStep) error { return nil })
	require.EqualError(t, err, "searching: no line")
	gone := errors.New("gone")
	a, _ := newAgent(t, o, "<search>a</search>", "<search>b</search>", "<answer>c</answer>")
	_, err = a.Answer(t.Context(), serve.AgentRequest{Messages: []tokenizer.Message{user("a")}},
		func(serve.AgentStep) error { return gone })
	require.ErrorIs(t, err, gone)
}
