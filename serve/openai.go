package serve

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/zerosearch-go/zerosearch/engine"
)

// The types of this file are the JSON objects of OpenAI's API, as in its reference and its Python package.

// apiError is an error as clients receive it.
type apiError struct {
	Status  int    `json:"-"`
	Message string `json:"message"`
	Type    string `json:"type"`
	Param   string `json:"param"`
	Code    string `json:"code"`
}

func (e *apiError) Error() string { return e.Message }

// MarshalJSON writes an empty param or code as null, as OpenAI does.
func (e *apiError) MarshalJSON() ([]byte, error) {
	null := func(s string) any {
		if s == "" {
			return nil
		}
		return s
	}
	return json.Marshal(struct {
		Message string `json:"message"`
		Type    string `json:"type"`
		Param   any    `json:"param"`
		Code    any    `json:"code"`
	}{e.Message, e.Type, null(e.Param), null(e.Code)})
}

// bad is the error (status 400) of a parameter.
func bad(param, format string, args ...any) *apiError {
	e := &apiError{Status: 400, Type: "invalid_request_error", Param: param, Message: fmt.Sprintf(format, args...)}
	if param != "" {
		e.Code = "invalid_value"
	}
	return e
}

// apiError converts any error to OpenAI's form.
func (s *Server) apiError(err error) *apiError {
	var e *apiError
	switch {
	case errors.As(err, &e):
		return e
	case errors.Is(err, engine.ErrNothingAllowed):
		return bad("", "%v: change allowed_token_ids, bad_words, min_tokens or the form of the answer",
			engine.ErrNothingAllowed)
	case errors.Is(err, engine.ErrClosed), errors.Is(err, context.Canceled):
		return &apiError{Status: http.StatusServiceUnavailable, Type: "server_error", Message: "the server is stopping"}
	}
	s.o.Log("a request failed: %v", err)
	return &apiError{Status: http.StatusInternalServerError, Type: "server_error", Message: err.Error()}
}

// answer is a complete response, or a chunk of a stream.
type answer struct {
	ID      string   `json:"id"`
	Object  string   `json:"object"`
	Created int64    `json:"created"`
	Model   string   `json:"model"`
	Choices []choice `json:"choices"`
	Usage   *usage   `json:"usage,omitempty"`
	// of a search agent: AgentAnswer, or in a stream the method that begins
	Zerosearch     any               `json:"zerosearch,omitempty"`
	PromptLogprobs []json.RawMessage `json:"prompt_logprobs,omitempty"` // chat, as in vLLM
}

// choice is one generated answer. Exactly one of Message, Delta and Text is set.
type choice struct {
	Index    int      `json:"index"`
	Message  *message `json:"message,omitempty"`
	Delta    *delta   `json:"delta,omitempty"`
	Text     *string  `json:"text,omitempty"`
	Logprobs any      `json:"logprobs"`
	Finish   *string  `json:"finish_reason"`
	// as in vLLM: the stop string or stop token id that ended the answer
	Stop      any      `json:"stop_reason,omitempty"`
	IDs       *[]int32 `json:"token_ids,omitempty"`
	PromptIDs *[]int32 `json:"prompt_token_ids,omitempty"`

	PromptLogprobs []json.RawMessage `json:"prompt_logprobs,omitempty"` // completions, as in vLLM
}

type message struct {
	Role      string       `json:"role"`
	Content   *string      `json:"content"`
	Reasoning string       `json:"reasoning_content,omitempty"`
	Refusal   *string      `json:"refusal"`
	Calls     []calledTool `json:"tool_calls,omitempty"`
}

type delta struct {
	Role       string       `json:"role,omitempty"`
	Content    *string      `json:"content,omitempty"`
	Reasoning  string       `json:"reasoning_content,omitempty"`
	Calls      []calledTool `json:"tool_calls,omitempty"`
	Zerosearch *Documents   `json:"zerosearch,omitempty"` // of a search agent
}

// calledTool is a tool call in a message or, with an index, in a chunk.
type calledTool struct {
	Index *int `json:"index,omitempty"`
	ToolCall
}

type usage struct {
	Prompt     int           `json:"prompt_tokens"`
	Completion int           `json:"completion_tokens"`
	Total      int           `json:"total_tokens"`
	Details    promptDetails `json:"prompt_tokens_details"`
}

type promptDetails struct {
	Cached int `json:"cached_tokens"`
}

// chatLogprobs is a chat choice's log-probabilities.
type chatLogprobs struct {
	Content []chatLogprob `json:"content"`
	Refusal *string       `json:"refusal"`
}

type chatLogprob struct {
	tokenLogprob
	Top []tokenLogprob `json:"top_logprobs"`
}

type tokenLogprob struct {
	Token   string  `json:"token"`
	Logprob float32 `json:"logprob"`
	Bytes   []int   `json:"bytes"` // UTF-8; a token may hold only a part of a character
}

// textLogprobs is a completion choice's log-probabilities; each slice has one element a token.
type textLogprobs struct {
	Tokens  []string             `json:"tokens"`
	Values  logprobs             `json:"token_logprobs"`
	Top     []map[string]float32 `json:"top_logprobs"`
	Offsets []int                `json:"text_offset"`
}

// modelCard describes a model in /v1/models. Root, Parent and Context are those of vLLM's server.
type modelCard struct {
	ID      string  `json:"id"`
	Object  string  `json:"object"`
	Created int64   `json:"created"`
	Owner   string  `json:"owned_by"`
	Root    string  `json:"root"`
	Parent  *string `json:"parent"`
	Context int     `json:"max_model_len"`
}

func (s *Server) card(m *Model) modelCard {
	c := modelCard{ID: m.ID, Object: "model", Created: s.began.Unix(), Owner: "zerosearch", Root: cmp.Or(m.Root, m.ID),
		Context: m.context}
	if m.Parent != "" {
		c.Parent = &m.Parent
	}
	return c
}

func (s *Server) listModels(w http.ResponseWriter, _ *http.Request) {
	cards := []modelCard{}
	for _, m := range s.models {
		cards = append(cards, s.card(m))
	}
	s.reply(w, http.StatusOK, map[string]any{"object": "list", "data": cards})
}

func (s *Server) getModel(w http.ResponseWriter, r *http.Request) {
	m, err := s.model(r.PathValue("id"))
	if err != nil {
		s.fail(w, err)
		return
	}
	s.reply(w, http.StatusOK, s.card(m))
}

// encode writes v as JSON and a newline, without escaping <, > and &.
func encode(v any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil { // a value that JSON cannot express, such as NaN
		panic(fmt.Sprintf("serve: %v", err))
	}
	return b.Bytes()
}
