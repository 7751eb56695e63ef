package search

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/zerosearch-go/zerosearch/internal/pyjson"
)

// Remote is a Generator on other machines: servers that speak OpenAI's chat completions (our own serve, SGLang, vLLM,
// llama.cpp). All addresses serve the same model. The load is spread over them, and when one fails the others take
// over.
type Remote struct {
	// EnableThinking, if not nil, is sent as the variable enable_thinking of the chat template, in the form of vLLM and
	// SGLang.
	EnableThinking *bool

	calls  *caller
	model  string
	listed string // the first model that a server lists, where model is ""
}

// NewRemote makes the generator. An empty model stands for the first model that each server lists. key may be empty and
// never appears in an error.
func NewRemote(addresses []string, model, key string, o CallOptions) (*Remote, error) {
	if len(addresses) == 0 {
		return nil, errors.New("remote: no address: give --remote-url http://HOST:PORT, several separated by commas")
	}
	c, err := newCaller("remote", key, "/v1", addresses, o)
	return &Remote{calls: c, model: model}, err
}

// Ready checks that a server answers, and asks it for its models.
func (r *Remote) Ready(ctx context.Context) error {
	return r.calls.do(ctx, r.listModels, func(_ *address, body []byte) (err error) {
		r.listed, err = readModels(body)
		return err
	})
}

// Model is the name of the model. Where NewRemote was given none it is known after Ready.
func (r *Remote) Model() string { return cmp.Or(r.model, r.listed) }

func (r *Remote) listModels(ctx context.Context, a *address) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.url.String()+"/models", nil)
	if err == nil {
		authorize(req, r.calls.secret)
	}
	return req, err
}

// readModels gives the name of the first model in the list.
func readModels(body []byte) (string, error) {
	var v struct{ Data []struct{ ID string } }
	err := pyjson.Unmarshal(body, &v)
	if err == nil && (len(v.Data) == 0 || v.Data[0].ID == "") {
		err = errors.New("no model in data")
	}
	if err != nil {
		return "", errShape("OpenAI's list of models", body, err)
	}
	return v.Data[0].ID, nil
}

// Generate asks for a chat completion. The stream becomes the seed: servers that support seeds give equal text for
// equal requests.
func (r *Remote) Generate(ctx context.Context, messages []Message, o GenerateOptions) (out Generation, err error) {
	type message struct {
		Role    string `json:"role"`
		Content string `json:"content"`
	}
	chat := make([]message, len(messages))
	for i, m := range messages {
		chat[i] = message{m.Role, strings.ToValidUTF8(m.Content, "\ufffd")}
	}
	request := func(ctx context.Context, a *address) (*http.Request, error) {
		model, err := r.modelOf(ctx, a)
		if err != nil {
			return nil, err
		}
		ask := map[string]any{"model": model, "messages": chat, "max_tokens": o.MaxTokens, "temperature": o.Temperature,
			"seed": o.Stream >> 33} // 31 bits: some servers keep seeds in an int32
		if r.EnableThinking != nil {
			ask["chat_template_kwargs"] = map[string]bool{"enable_thinking": *r.EnableThinking}
		}
		body, err := json.Marshal(ask)
		if err != nil {
			return nil, err
		}
		return post(body, func(a *address) string { return a.url.String() + "/chat/completions" }, r.calls.secret)(ctx,
			a)
	}
	err = r.calls.do(ctx, request, func(_ *address, body []byte) error {
		out, err = readCompletion(body)
		return err
	})
	return out, err
}

// modelOf is the name of the model to ask for. Each address is asked for its list of models once.
func (r *Remote) modelOf(ctx context.Context, a *address) (string, error) {
	if r.model != "" {
		return r.model, nil
	}
	r.calls.mu.Lock()
	known := a.model
	r.calls.mu.Unlock()
	if known != "" {
		return known, nil
	}
	status, _, body, err := r.calls.send(ctx, a, r.listModels)
	if err != nil {
		return "", err
	}
	if status != http.StatusOK {
		return "", fmt.Errorf("asked for its models: %d: %s", status, explain(body))
	}
	if known, err = readModels(body); err == nil {
		r.calls.mu.Lock()
		a.model = known
		r.calls.mu.Unlock()
	}
	return known, err
}

// readCompletion reads a chat completion. The reasoning of the model comes in the field reasoning_content (in newer
// servers reasoning), in parts of the content that are not text (Mistral), or inside the text. A message without
// content has an empty text.
func readCompletion(body []byte) (Generation, error) {
	var v struct {
		Choices []struct {
			Message *struct {
				Content          content
				ReasoningContent any `json:"reasoning_content"`
				Reasoning        any
			}
		}
		Usage struct {
			Prompt     int `json:"prompt_tokens"`
			Completion int `json:"completion_tokens"`
		}
	}
	err := pyjson.Unmarshal(body, &v)
	if err == nil && (len(v.Choices) == 0 || v.Choices[0].Message == nil) {
		err = errors.New("no message in choices")
	}
	if err != nil {
		return Generation{}, errShape("a chat completion of OpenAI's API", body, err)
	}
	m := v.Choices[0].Message
	thought, _ := m.ReasoningContent.(string)
	newer, _ := m.Reasoning.(string)
	return Generation{Text: string(m.Content), Reasoning: cmp.Or(thought, newer), PromptTokens: v.Usage.Prompt,
		CompletionTokens: v.Usage.Completion}, nil
}

// content is the text of a message. In JSON it is a string, a list of parts of which those of type text are joined, or
// null.
type content string

// UnmarshalJSON reads any of these forms.
func (c *content) UnmarshalJSON(b []byte) error {
	if b[0] != '[' {
		return json.Unmarshal(b, (*string)(c))
	}
	var parts []struct{ Type, Text string }
	if err := json.Unmarshal(b, &parts); err != nil {
		return err
	}
	for _, p := range parts {
		if p.Type == "text" {
			*c += content(p.Text)
		}
	}
	return nil
}
