package serve

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// fakeAgent tells two thoughts, a search and an answer, or what the question asks for.
type fakeAgent struct {
	asked AgentRequest
	began chan struct{}
	ended chan error
}

func (f *fakeAgent) Answer(ctx context.Context, r AgentRequest, tell func(AgentStep) error) (AgentAnswer, error) {
	f.asked = r
	call := &ToolCall{"call_1", "function", ToolFunction{"search", `{"query":"q"}`}}
	documents := []Document{{ID: 1, Title: "T", Source: "f.pdf", Number: 2, Passage: "a <b>"}}
	switch question := r.Messages[len(r.Messages)-1].Content; question {
	case "bad":
		return AgentAnswer{}, InvalidRequest("messages", errors.New("no question"))
	case "fails":
		return AgentAnswer{}, errors.New("searching: no line")
	case "fails late":
		_ = tell(AgentStep{Thought: "hm"})
		return AgentAnswer{}, errors.New("searching: no line")
	case "waits":
		_ = tell(AgentStep{Thought: "hm"})
		close(f.began)
		<-ctx.Done()
		f.ended <- ctx.Err()
		return AgentAnswer{}, ctx.Err()
	}
	for _, s := range []AgentStep{{Method: "agent"}, {Thought: "one"}, {Thought: " two"}, {Call: call},
		{Documents: &Documents{"call_1", documents}}, {Call: call}, {Content: "An"}, {Content: "na"}} {
		if err := tell(s); err != nil {
			return AgentAnswer{}, err
		}
	}
	return AgentAnswer{Method: "agent", Turns: []AgentTurn{{"one two", call, documents}}, Supported: true,
		Status: "answered", Cut: r.MaxTokens == 7, PromptTokens: 5, CompletionTokens: 3}, nil
}

func newAgentRig(t *testing.T, o Options) (*rig, *fakeAgent) {
	r := newServer(t, o)
	f := &fakeAgent{began: make(chan struct{}), ended: make(chan error, 1)}
	m := r.m
	m.ID, m.Parent, m.Agent = "zerosearch-agent", "tiny", f
	var err error
	r.s, err = New(r.eng, []Model{r.m, m}, o)
	require.NoError(t, err)
	h := httptest.NewServer(r.s)
	t.Cleanup(h.Close)
	r.url, r.http = h.URL, h.Client()
	return r, f
}

func agentQuery(question string, more object) object {
	q := object{"model": "zerosearch-agent", "messages": []object{{"role": "user", "content": question}}}
	for k, v := range more {
		q[k] = v
	}
	return q
}

var changing = regexp.MustCompile(`chatcmpl-[0-9a-f]+|"created":(\d+)`)

// masked is a response without what differs each time.
func masked(text []byte) string {
	return changing.ReplaceAllStringFunc(string(text), func(found string) string {
		if strings.HasPrefix(found, "chat") {
			return "ID"
		}
		return `"created":0`
	})
}

// The wire format of a search agent, whole and streamed.
func TestAgentWireFormat(t *testing.T) {
	r, f := newAgentRig(t, Options{})
	const head = `{"id":"ID","object":"chat.completion.chunk","created":0,"model":"zerosearch-agent","choices":[`
	const documents = `[{"id":1,"title":"T","source":"f.pdf","number":2,"passage":"a <b>","cited":false}]`
	const trace = `"zerosearch":{"method":"agent","turns":[{"thought":"one two","tool_call":{"id":"call_1","type":"function",` +
		`"function":{"name":"search","arguments":"{\"query\":\"q\"}"}},"documents":` + documents +
		`}],"supported":true,"status":"answered"}`
	const tokens = `"usage":{"prompt_tokens":5,"completion_tokens":3,"total_tokens":8,"prompt_tokens_details":{"cached_tokens":0}}`
	delta := func(text string) string {
		return head + `{"index":0,"delta":` + text + `,"logprobs":null,"finish_reason":null}]}`
	}
	status, _, text := r.do(t.Context(), "POST", chatPath, marshal(t, agentQuery("who?", object{"temperature": 0.5,
		"top_p": 0.9, "max_tokens": 7, "seed": 3, "n": 1, "presence_penalty": 0, "tools": []int{},
		"zerosearch": object{"style": "report"}})))
	require.Equal(t, 200, status, "%s", text)
	require.Equal(t, `{"id":"ID","object":"chat.completion","created":0,"model":"zerosearch-agent","choices":[{"index":0,`+
		`"message":{"role":"assistant","content":"Anna","reasoning_content":"one two","refusal":null},"logprobs":null,`+
		`"finish_reason":"length"}],`+tokens+`,`+trace+"}\n", masked(text))
	require.Equal(t, AgentRequest{Messages: f.asked.Messages, Temperature: 0.5, TopP: 0.9, Seed: 3, MaxTokens: 7,
		Options: json.RawMessage(`{"style":"report"}`)}, f.asked)

	status, _, text = r.do(t.Context(), "POST", chatPath, marshal(t, agentQuery("who?", object{"stream": true,
		"stream_options": object{"include_usage": true}})))
	require.Equal(t, 200, status)
	require.Equal(t, []string{
		delta(`{"role":"assistant","content":""}`),
		head + `],"zerosearch":{"method":"agent"}}`,
		delta(`{"reasoning_content":"one"}`),
		delta(`{"reasoning_content":" two"}`),
		delta(`{"tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"name":"search",` +
			`"arguments":"{\"query\":\"q\"}"}}]}`),
		delta(`{"zerosearch":{"tool_call_id":"call_1","documents":` + documents + `}}`),
		delta(`{"tool_calls":[{"index":1,"id":"call_1","type":"function","function":{"name":"search",` +
			`"arguments":"{\"query\":\"q\"}"}}]}`),
		delta(`{"content":"An"}`),
		delta(`{"content":"na"}`),
		head + `{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}],` + trace + `}`,
		head + `],` + tokens + `}`,
		"[DONE]",
	}, events0(masked(text)))
	require.Zero(t, f.asked.Temperature, "greedy by default")
	require.Zero(t, f.asked.MaxTokens)
	require.Zero(t, r.s.inFlight.Load())
	require.Equal(t, int64(10), r.s.metrics.prompt.Load())
}

func events0(body string) (out []string) {
	for line := range strings.Lines(body) {
		if data, ok := strings.CutPrefix(strings.TrimSpace(line), "data: "); ok {
			out = append(out, data)
		}
	}
	return out
}

// What a search agent cannot do is refused; its failures are answered as those of other models.
func TestAgentRefusals(t *testing.T) {
	r, _ := newAgentRig(t, Options{})
	for _, c := range []struct {
		path, want string
		status     int
		query      object
	}{
		{chatPath, "stop is not supported by zerosearch-agent, which is a search agent: use its model tiny", 400,
			agentQuery("q", object{"stop": "x"})},
		{chatPath, "stream_options.continuous_usage_stats is not supported by zerosearch-agent", 400,
			agentQuery("q", object{"stream": true, "stream_options": object{"continuous_usage_stats": true}})},
		{chatPath, "n is not supported", 400, agentQuery("q", object{"n": 2})},
		{chatPath, "zerosearch must be an object, not 3", 400, agentQuery("q", object{"zerosearch": 3})},
		{chatPath, "no question", 400, agentQuery("bad", nil)},
		{chatPath, "searching: no line", 500, agentQuery("fails", nil)},
		{chatPath, "zerosearch is for search agents, and tiny is none", 400,
			agentQuery("q", object{"zerosearch": object{}, "model": "tiny"})},
		{textPath, "zerosearch-agent is a search agent: use /v1/chat/completions, or its model tiny", 400,
			object{"model": "zerosearch-agent", "prompt": "q"}},
	} {
		status, _, text := r.do(t.Context(), "POST", c.path, marshal(t, c.query))
		require.Equal(t, c.status, status)
		require.Contains(t, string(text), c.want)
	}
	status, _, text := r.do(t.Context(), "POST", chatPath, marshal(t, agentQuery("fails late", object{"stream": true})))
	require.Equal(t, 200, status)
	lines := events0(string(text))
	require.Equal(t, `{"error":{"message":"searching: no line","type":"server_error","param":null,"code":null}}`,
		lines[len(lines)-1])
	require.Zero(t, r.s.inFlight.Load())
	require.Equal(t, int64(2), r.s.metrics.cut.Load())
}

// A client that leaves ends its agent's answer, and an answer counts as one sequence.
func TestAgentClientLeaves(t *testing.T) {
	r, f := newAgentRig(t, Options{MaxSequences: 1})
	ctx, leave := context.WithCancel(t.Context())
	go func() {
		q, _ := http.NewRequestWithContext(ctx, "POST", r.url+chatPath,
			strings.NewReader(string(marshal(t, agentQuery("waits", object{"stream": true})))))
		if resp, err := r.http.Do(q); err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
	}()
	<-f.began
	status, header, _ := r.do(t.Context(), "POST", chatPath, marshal(t, agentQuery("q", nil)))
	require.Equal(t, 429, status)
	require.NotEmpty(t, header.Get("Retry-After"))
	leave()
	require.ErrorIs(t, <-f.ended, context.Canceled)
	require.Eventually(t, func() bool { return r.s.inFlight.Load() == 0 }, 10*time.Second, 5*time.Millisecond)
}
