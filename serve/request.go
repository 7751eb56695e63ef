package serve

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/zerosearch-go/zerosearch/engine"
	"github.com/zerosearch-go/zerosearch/tokenizer"
)

// Bounds of a request.
const (
	maxStops       = 16
	maxTopLogprobs = 20
	maxMessages    = 4096
)

// call is a request, checked: what to generate and how to answer.
type call struct {
	id        string
	created   int64
	began     time.Time
	chat      bool
	model     *Model
	prompts   [][]int32
	n         int // choices of each prompt
	sample    engine.Request
	seed      uint64
	stops     []string
	logprobs  bool
	top       int
	stream    bool
	usage     bool
	returnIDs bool
}

// sequences is how many the engine gets.
func (c *call) sequences() int { return len(c.prompts) * c.n }

// request is that of choice i. Choice numbers go through the choices of the first prompt, then of the next.
func (c *call) request(i int) engine.Request {
	r := c.sample
	r.Prompt = c.prompts[i/c.n]
	r.MaxTokens = min(r.MaxTokens, c.model.context-len(r.Prompt))
	r.Stream = engine.Stream(c.seed, uint64(i))
	return r
}

func (s *Server) chat(w http.ResponseWriter, r *http.Request) {
	s.serve(w, r, func(body []byte) (*call, error) {
		var q chatRequest
		if err := decode(body, &q); err != nil {
			return nil, err
		}
		c, err := s.newCall(&q.parameters, maxOf(q.MaxCompletionTokens, q.MaxTokens))
		if err != nil {
			return nil, err
		}
		if c.logprobs, c.top = q.Logprobs, q.TopLogprobs; c.top > 0 && !c.logprobs {
			return nil, bad("top_logprobs", "top_logprobs needs logprobs: true")
		}
		c.id, c.chat = "chatcmpl-"+c.id, true
		messages, err := readMessages(q.Messages)
		if err != nil {
			return nil, err
		}
		if c.model.Tokenizer == nil {
			return nil, bad("messages", "model %s has no tokenizer, so text cannot be read: use /v1/completions with ids", c.model.ID)
		}
		ids, err := c.model.Tokenizer.EncodeChat(c.model.Template, tokenizer.ChatInput{Messages: messages, AddGenerationPrompt: true})
		if err != nil {
			return nil, bad("messages", "the chat template refuses these messages: %v", err)
		}
		return c, c.check("messages", [][]int32{ids})
	})
}

func (s *Server) completion(w http.ResponseWriter, r *http.Request) {
	s.serve(w, r, func(body []byte) (*call, error) {
		var q completionRequest
		if err := decode(body, &q); err != nil {
			return nil, err
		}
		const usual = 16 // OpenAI's
		most := q.MaxTokens
		if most == nil {
			most = new(int)
			*most = usual
		}
		c, err := s.newCall(&q.parameters, most)
		if err != nil {
			return nil, err
		}
		c.id = "cmpl-" + c.id
		if q.Logprobs != nil {
			c.logprobs, c.top = true, *q.Logprobs
		}
		prompts, err := c.model.readPrompts(q.Prompt)
		if err != nil {
			return nil, err
		}
		return c, c.check("prompt", prompts)
	})
}

// maxOf is the new name of max_tokens, or else the old one.
func maxOf(a, b *int) *int {
	if a != nil {
		return a
	}
	return b
}

// decode reads one JSON object.
func decode(body []byte, v any) error {
	if !utf8.Valid(body) {
		return bad("", "the request is not valid UTF-8")
	}
	if !bytes.HasPrefix(bytes.TrimSpace(body), []byte("{")) {
		return bad("", "the request is not a JSON object")
	}
	err := json.Unmarshal(body, v)
	var wrong *json.UnmarshalTypeError
	switch {
	case errors.As(err, &wrong):
		field := strings.TrimPrefix(wrong.Field, "parameters.")
		return bad(field, "%s cannot be a JSON %s", field, wrong.Value)
	case err != nil:
		return bad("", "the request is not valid JSON: %v", err)
	}
	return nil
}

// newCall checks what both endpoints have in common.
func (s *Server) newCall(p *parameters, most *int) (*call, error) {
	m, err := s.model(p.Model)
	if err != nil {
		return nil, err
	}
	if err := p.check(); err != nil {
		return nil, err
	}
	c := &call{id: hex.EncodeToString(random(12)), created: time.Now().Unix(), model: m, n: or(p.N, 1), stops: p.Stop, stream: p.Stream, returnIDs: p.ReturnIDs}
	c.usage = p.StreamOptions != nil && p.StreamOptions.IncludeUsage
	c.sample = engine.Request{Model: m.Engine, Adapter: m.Adapter, MaxTokens: m.context, Temperature: or(p.Temperature, 1), TopK: max(or(p.TopK, 0), 0),
		TopP: or(p.TopP, 1), MinP: or(p.MinP, 0), EOS: slices.Clone(m.EOS)}
	if c.sample.TopP >= 1 {
		c.sample.TopP = 0 // off
	}
	if p.IgnoreEOS || c.sample.EOS == nil {
		c.sample.EOS = []int32{}
	}
	if most != nil {
		if c.sample.MaxTokens = *most; *most < 1 {
			return nil, bad("max_tokens", "max_tokens is %d: ask for 1 at least", *most)
		}
	}
	if len(c.stops) > 0 && m.Tokenizer == nil {
		return nil, bad("stop", "model %s has no tokenizer, so text cannot be looked for", m.ID)
	}
	if c.seed = binary.LittleEndian.Uint64(random(8)); p.Seed != nil {
		c.seed = uint64(*p.Seed)
	}
	return c, nil
}

// model finds what a request names; the first model where it names none.
func (s *Server) model(id string) (*Model, error) {
	if id == "" {
		return s.models[0], nil
	}
	if m := s.find(id); m != nil {
		return m, nil
	}
	var ids []string
	for _, m := range s.models {
		ids = append(ids, m.ID)
	}
	return nil, &apiError{Status: 404, Type: "invalid_request_error", Param: "model", Code: "model_not_found",
		Message: fmt.Sprintf("there is no model %q here: use %s", id, strings.Join(ids, ", "))}
}

// check refuses what cannot be, and what is not implemented and would change the result.
func (p *parameters) check() error {
	t, top, min := or(p.Temperature, 1), or(p.TopP, 1), or(p.MinP, 0)
	for _, x := range []struct {
		bad        bool
		param, say string
	}{
		{!(t >= 0 && t <= 100) || t > 0 && t < 1e-6, "temperature", "temperature must be 0 (greedy) or lie between 1e-6 and 100"},
		{!(top > 0 && top <= 1), "top_p", "top_p must be above 0 and at most 1"},
		{!(min >= 0 && min <= 1), "min_p", "min_p must lie between 0 and 1"},
		{or(p.TopK, 0) < -1 || or(p.TopK, 0) > 1<<30, "top_k", "top_k must be positive, or 0 or -1 to switch it off"},
		{or(p.N, 1) < 1, "n", "n must be at least 1"},
		{len(p.Stop) > maxStops, "stop", fmt.Sprintf("at most %d stop texts", maxStops)},
		{slices.Contains(p.Stop, ""), "stop", "a stop text is empty"},
		{p.StreamOptions != nil && !p.Stream, "stream_options", "stream_options needs stream: true"},
		{len(p.Tools) > 0, "tools", "tools are not supported"},
		{len(p.Functions) > 0, "functions", "functions are not supported"},
		{p.ResponseFormat != nil && p.ResponseFormat.Type != "text", "response_format", "only response_format text is supported"},
		{len(p.LogitBias) > 0, "logit_bias", "logit_bias is not supported"},
		{p.PresencePenalty != 0, "presence_penalty", "presence_penalty is not supported"},
		{p.FrequencyPenalty != 0, "frequency_penalty", "frequency_penalty is not supported"},
		{or(p.BestOf, 1) > 1 && or(p.BestOf, 1) != or(p.N, 1), "best_of", "best_of is not supported"},
		{p.Echo, "echo", "echo is not supported"},
		{p.Suffix != "", "suffix", "suffix is not supported"},
	} {
		if x.bad {
			return bad(x.param, "%s", x.say)
		}
	}
	return nil
}

// check takes prompts that the model can hold.
func (c *call) check(param string, prompts [][]int32) error {
	if c.top < 0 || c.top > maxTopLogprobs {
		return bad("top_logprobs", "at most %d of the most likely tokens, not %d", maxTopLogprobs, c.top)
	}
	for _, ids := range prompts {
		if len(ids) == 0 {
			return bad(param, "the prompt is empty")
		}
		if len(ids) >= c.model.context {
			e := bad(param, "the prompt has %d tokens and the context of model %s %d, answer included: shorten it", len(ids), c.model.ID, c.model.context)
			e.Code = "context_length_exceeded"
			return e
		}
		if err := c.model.Config.CheckIDs(ids); err != nil {
			return bad(param, "%v", err)
		}
	}
	c.prompts = prompts
	return nil
}

// readPrompts reads a text, a list of texts, a list of ids, or a list of lists of ids.
func (m *Model) readPrompts(raw json.RawMessage) ([][]int32, error) {
	var texts []string
	var one string
	var ids []int32
	var all [][]int32
	switch {
	case len(raw) == 0 || string(raw) == "null":
		return nil, bad("prompt", "the prompt is missing")
	case json.Unmarshal(raw, &one) == nil:
		texts = []string{one}
	case json.Unmarshal(raw, &texts) == nil && len(texts) > 0:
	case json.Unmarshal(raw, &ids) == nil:
		return [][]int32{ids}, nil
	case json.Unmarshal(raw, &all) == nil:
		return all, nil
	default:
		return nil, bad("prompt", "the prompt is no text, list of texts, list of ids or list of lists of ids")
	}
	if m.Tokenizer == nil {
		return nil, bad("prompt", "model %s has no tokenizer, so text cannot be read: send ids", m.ID)
	}
	for _, t := range texts {
		all = append(all, m.Tokenizer.Encode(t, tokenizer.EncodeOptions{AddSpecial: true, ParseSpecial: true}))
	}
	return all, nil
}

// readMessages checks a chat and joins contents that come in parts of text.
func readMessages(raw []json.RawMessage) ([]tokenizer.Message, error) {
	if len(raw) == 0 || len(raw) > maxMessages {
		return nil, bad("messages", "there are %d messages: send between 1 and %d", len(raw), maxMessages)
	}
	out := make([]tokenizer.Message, len(raw))
	for i, r := range raw {
		param := fmt.Sprintf("messages[%d]", i)
		var content struct{ Content json.RawMessage }
		err := json.Unmarshal(r, &content)
		if err == nil {
			err = json.Unmarshal(r, &out[i])
		}
		if err != nil {
			return nil, bad(param, "%s is not a message: %v", param, err)
		}
		if out[i].Role == "" {
			return nil, bad(param, "%s has no role", param)
		}
		if c := content.Content; len(c) > 0 && c[0] != '"' && string(c) != "null" {
			if out[i].Content, err = joinParts(c); err != nil {
				return nil, bad(param, "%s: %v", param, err)
			}
		}
	}
	return out, nil
}

func joinParts(raw json.RawMessage) (string, error) {
	var parts []struct{ Type, Text string }
	if err := json.Unmarshal(raw, &parts); err != nil {
		return "", errors.New("content is no text and no list of parts")
	}
	var text strings.Builder
	for _, p := range parts {
		if p.Type != "text" {
			return "", fmt.Errorf("content of type %q is not supported: only text is", p.Type)
		}
		text.WriteString(p.Text)
	}
	return text.String(), nil
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return b
}

func or[E any](p *E, absent E) E {
	if p == nil {
		return absent
	}
	return *p
}
