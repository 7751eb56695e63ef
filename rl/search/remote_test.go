package search_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/zerosearch-go/zerosearch/rl/search"
	"github.com/zerosearch-go/zerosearch/rl/search/searchtest"
)

const completion = `{"id":"c","object":"chat.completion","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"Doc 1: x\nDoc 2: y"},"finish_reason":"stop"}],"usage":{"prompt_tokens":7,"completion_tokens":5,"total_tokens":12}}`

// chat is a server of OpenAI's API that answers every chat completion with step.
func chat(t *testing.T, answer step) *server {
	return serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/models" {
			io.WriteString(w, `{"object":"list","data":[{"id":"sim-7b","object":"model"}]}`)
			return
		}
		answer(w, r)
	})
}

func remote(t *testing.T, o search.CallOptions, servers ...*server) *search.Remote {
	var urls []string
	for _, s := range servers {
		urls = append(urls, strings.TrimPrefix(s.URL, "http://"))
	}
	r, err := search.NewRemote(urls, "", "", o)
	require.NoError(t, err)
	return r
}

func TestRemote(t *testing.T) {
	var auth atomic.Value
	s := chat(t, func(w http.ResponseWriter, r *http.Request) {
		auth.Store(r.Header.Get("Authorization"))
		io.WriteString(w, completion)
	})
	r, err := search.NewRemote([]string{s.URL}, "", "secret", quick)
	require.NoError(t, err)
	require.NoError(t, r.Ready(t.Context()))
	sim := search.NewSimulated(r, search.SFT, search.Curriculum{})
	sim.Engine = "remote"
	d, err := sim.Search(t.Context(), search.Query{Query: "q", Question: "who?", GoldenAnswers: []string{"me"},
		Stream: 3})
	require.NoError(t, err)
	require.Equal(t, []string{"x", "y"}, d.Docs)
	require.Equal(t, []int{7, 5}, []int{d.PromptTokens, d.CompletionTokens})
	require.Equal(t, "Bearer secret", auth.Load())
	seen := s.requests()
	require.Equal(t, "GET /v1/models ", seen[0])
	body, ok := strings.CutPrefix(seen[len(seen)-1], "POST /v1/chat/completions ")
	require.True(t, ok)
	var sent struct {
		Model       string
		Messages    []map[string]string
		MaxTokens   int `json:"max_tokens"`
		Temperature float64
		Seed        int64
	}
	require.NoError(t, json.Unmarshal([]byte(body), &sent))
	require.Equal(t, "sim-7b", sent.Model)
	require.Equal(t, 600, sent.MaxTokens)
	require.Equal(t, 0.8, sent.Temperature)
	require.True(t, 0 <= sent.Seed && sent.Seed < 1<<31)
	require.Equal(t, map[string]string{"role": "system", "content": ""}, sent.Messages[0])
	require.Contains(t, sent.Messages[1]["content"], `"who?" whose answer is me.`)
	_, err = sim.Search(t.Context(), search.Query{Query: "q", Question: "who?", GoldenAnswers: []string{"me"},
		Stream: 3})
	require.NoError(t, err)
	again := s.requests()
	require.Equal(t, seen[len(seen)-1], again[len(again)-1], "the same query, the same request")

	searchtest.Run(t, sim)
	_, err = search.NewRemote(nil, "m", "", quick)
	require.ErrorContains(t, err, "--remote-url")
}

// The text of an answer and its reasoning, in the formats of vLLM, SGLang, OpenRouter and Mistral.
func TestRemoteAnswers(t *testing.T) {
	for message, want := range map[string]search.Generation{
		`{"content":"a"}`:                         {Text: "a"},
		`{"content":"a","reasoning_content":"t"}`: {Text: "a", Reasoning: "t"},
		`{"content":"a","reasoning":"t","reasoning_details":[{"text":"t"}]}`: {Text: "a", Reasoning: "t"},
		`{"content":"a","reasoning_content":null,"reasoning":{"effort":1}}`:  {Text: "a"},
		`{"content":null,"reasoning_content":"t"}`:                           {Reasoning: "t"},
		`{"role":"assistant"}`: {},
		`{"content":[{"type":"thinking","thinking":[{"type":"text","text":"t"}]},{"type":"text","text":"a"},{"type":"text","text":"b"}]}`: {Text: "ab"},
	} {
		r := remote(t, quick, chat(t, text(200, `{"choices":[{"message":`+message+`}]}`)))
		g, err := r.Generate(t.Context(), nil, search.GenerateOptions{})
		require.NoError(t, err, message)
		require.Equal(t, want, g, message)
	}
	r := remote(t, quick, chat(t, text(200, `{"choices":[{"message":{"content":7}}]}`)))
	_, err := r.Generate(t.Context(), nil, search.GenerateOptions{})
	require.ErrorContains(t, err, "not a chat completion of OpenAI's API")
}

// EnableThinking is sent in the form of vLLM and SGLang. If it is nil nothing is sent, because other servers may not
// know the field.
func TestRemoteThinking(t *testing.T) {
	off := false
	for body, thinking := range map[string]*bool{`"chat_template_kwargs":{"enable_thinking":false}`: &off, "": nil} {
		s := chat(t, text(200, completion))
		r := remote(t, quick, s)
		r.EnableThinking = thinking
		_, err := r.Generate(t.Context(), nil, search.GenerateOptions{})
		require.NoError(t, err)
		seen := s.requests()
		require.Equal(t, body != "", strings.Contains(seen[len(seen)-1], "chat_template_kwargs"))
		require.Contains(t, seen[len(seen)-1], body)
	}
}

// The load is spread over all servers; when some fail in any way, the others answer all queries.
func TestRemoteFailsOver(t *testing.T) {
	good := text(200, completion)
	a, b := chat(t, good), chat(t, good)
	r := remote(t, quick, a, b)
	ask := func(n int) {
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() {
				g, err := r.Generate(t.Context(), []search.Message{{Role: "user", Content: fmt.Sprint(i)}},
					search.GenerateOptions{MaxTokens: 5})
				require.NoError(t, err)
				require.Equal(t, "Doc 1: x\nDoc 2: y", g.Text)
			})
		}
		wg.Wait()
	}
	ask(40)
	require.Greater(t, len(a.requests()), 10)
	require.Greater(t, len(b.requests()), 10)

	for name, fault := range map[string]step{"500": text(500, "x"), "404": text(404, "x"),
		"429": text(429, "", "Retry-After", "100"), "slow": slow,
		"cut off": cutOff, "hang up": hangUp, "shape": text(200, `{"choices":[]}`)} {
		t.Run(name, func(t *testing.T) {
			bad := chat(t, fault)
			gone := chat(t, good)
			gone.Close()
			r = remote(t, quick, bad, gone, b)
			ask(20)
		})
	}
}

func TestRemoteGone(t *testing.T) {
	a, b := chat(t, text(503, `{"error":{"message":"loading"}}`)), chat(t, text(200, "?"))
	r := remote(t, quick, a, b)
	require.NoError(t, r.Ready(t.Context()))
	_, err := r.Generate(t.Context(), nil, search.GenerateOptions{})
	var u *search.Unavailable
	require.ErrorAs(t, err, &u)
	require.Equal(t, 6, u.Tries, "three for each")
	require.ErrorContains(t, err, strings.TrimPrefix(a.URL, "http://")+", "+strings.TrimPrefix(b.URL, "http://"))

	a.Close()
	b.Close()
	require.ErrorAs(t, r.Ready(t.Context()), &u)
	one, err := search.NewRemote([]string{serve(t, text(200, `{"data":[]}`)).URL}, "", "", quick)
	require.NoError(t, err)
	require.ErrorContains(t, one.Ready(t.Context()), "not OpenAI's list of models")
	_, err = one.Generate(t.Context(), nil, search.GenerateOptions{})
	require.ErrorContains(t, err, "not OpenAI's list of models")
}

// The answers of llama.cpp's server, recorded.
func TestRemoteLlamaCpp(t *testing.T) {
	answer := func(status int, name string) step {
		body, err := os.ReadFile("testdata/llamacpp/" + name + ".json")
		require.NoError(t, err)
		return text(status, string(body), "Content-Type", "application/json; charset=utf-8")
	}
	llama := func(chat step) *server {
		var loaded atomic.Bool
		return serve(t, func(w http.ResponseWriter, r *http.Request) {
			switch {
			case !loaded.Swap(true):
				answer(503, "loading")(w, r)
			case r.URL.Path == "/v1/models":
				answer(200, "models")(w, r)
			case r.URL.Path == "/v1/chat/completions":
				chat(w, r)
			default:
				answer(404, "path")(w, r)
			}
		})
	}
	messages := []search.Message{{Role: "user", Content: "capital of France"}}
	s := llama(answer(200, "completion"))
	r := remote(t, quick, s)
	require.NoError(t, r.Ready(t.Context()), "it loads for a while")
	g, err := r.Generate(t.Context(), messages, search.GenerateOptions{MaxTokens: 60})
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(g.Text, "1. Mon dieu") &&
		strings.HasSuffix(g.Text, "The City of Light Paris"), g.Text)
	require.Equal(t, []int{41, 60}, []int{g.PromptTokens, g.CompletionTokens})
	requests := s.requests()
	require.Contains(t, requests[len(requests)-1], `"model":"smollm2"`)

	var gone *search.Unavailable
	wrong, err := search.NewRemote([]string{s.URL + "/api"}, "", "", quick)
	require.NoError(t, err)
	err = wrong.Ready(t.Context())
	require.ErrorAs(t, err, &gone)
	require.ErrorContains(t, err, "gave up after 1 try: 404 Not Found: File Not Found: check the address")

	r = remote(t, quick, llama(answer(401, "key")))
	_, err = r.Generate(t.Context(), messages, search.GenerateOptions{})
	require.ErrorAs(t, err, &gone)
	require.ErrorContains(t, err, "401 Unauthorized: Invalid API Key: check the API key")

	// A query that is too long for the context is rejected by itself, until 20 queries in a row are rejected.
	short := llama(answer(400, "context"))
	r = remote(t, quick, short)
	asked := 0
	for err = nil; !errors.As(err, &gone) && asked < 100; asked++ {
		_, err = r.Generate(t.Context(), messages, search.GenerateOptions{})
		require.ErrorContains(t, err,
			"400 Bad Request: request (615 tokens) exceeds the available context size (512 tokens), try increasing it")
	}
	require.Equal(t, 21, asked)
	require.ErrorContains(t, err, "the server rejected the 19 queries before as well: check its configuration")
	r = remote(t, quick, short, llama(answer(200, "completion")))
	refused := 0
	for range 60 {
		if _, err = r.Generate(t.Context(), messages, search.GenerateOptions{}); err != nil {
			require.False(t, errors.As(err, &gone), err)
			refused++
		}
	}
	require.Equal(t, 20, refused, "then the other takes over")
}
