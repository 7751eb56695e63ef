package serve

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/zerosearch-go/zerosearch/engine"
	"github.com/zerosearch-go/zerosearch/internal/jsongrammar"
	"github.com/zerosearch-go/zerosearch/tokenizer"
)

// Bounds of a request.
const (
	maxStops       = 16
	maxTopLogprobs = 20
	maxMessages    = 4096
	maxChoices     = 1 << 30 // avoids overflow; Options.MaxSequences is the real limit
)

// call is a checked request: what to generate and how to answer.
type call struct {
	*query
	id      string
	created int64
	began   time.Time
	chat    bool
	model   *Model
	prompts [][]int32
	choices int      // of each prompt; more than n with best_of
	texts   []string // the prompts as they were sent; nil: as token ids or messages
	scored  []scored // of each prompt, if the request asks for it
	prefix  []echoed // of each prompt, with echo
	sample  engine.Request
	output  Output
	seed    uint64

	forced       []int32              // what each answer begins with, because of tool_choice
	grammar      *jsongrammar.Grammar // nil: any text
	badWords     [][]int32
	conversation []tokenizer.Message // for a search agent
}

// sequences is the number of sequences that the engine generates for the call; a search agent counts as one.
func (c *call) sequences() int { return max(1, len(c.prompts)*c.choices) }

// request is the engine's request for choice i. Choices of the first prompt come first, then those of the next.
func (c *call) request(i int) engine.Request {
	r := c.sample
	r.Prompt = slices.Concat(c.prompts[i/c.choices], c.forced)
	r.MaxTokens = min(r.MaxTokens, c.model.context-len(r.Prompt))
	r.Stream = engine.Stream(c.seed, uint64(i))
	return r
}

func (s *Server) chat(w http.ResponseWriter, r *http.Request) {
	s.serve(w, r, func(body []byte) (*call, error) {
		c, err := s.newCall(body, inChat)
		if err != nil {
			return nil, err
		}
		if c.model.Tokenizer == nil {
			return nil,
				bad("messages", "model %s has no tokenizer, so it cannot read text: use /v1/completions with token ids",
					c.model.ID)
		}
		messages, err := readMessages(c.messages, c.model.Template)
		if err != nil {
			return nil, err
		}
		if c.model.Agent != nil {
			c.conversation = messages
			return c, c.forAgent()
		}
		if c.zerosearch != nil {
			return nil, bad("zerosearch", "zerosearch is for search agents, and %s is none", c.model.ID)
		}
		if err := c.needFormat(); err != nil {
			return nil, err
		}
		ids, err := c.encode(messages)
		if err != nil {
			return nil, err
		}
		return c, c.check("messages", [][]int32{ids})
	})
}

// encode renders the messages with the chat template and returns the token ids.
func (c *call) encode(messages []tokenizer.Message) ([]int32, error) {
	in := tokenizer.ChatInput{Messages: messages, Vars: c.vars, ContinueFinalMessage: c.continueFinal,
		AddGenerationPrompt: !c.continueFinal && (c.generation == nil || *c.generation)}
	if c.tools.on() {
		in.Tools = c.tools.list
	}
	ids, err := c.model.Tokenizer.EncodeChat(c.model.Template, in)
	if err != nil {
		return nil, bad("messages", "the chat template refuses these messages: %v", err)
	}
	if p := c.tools.prefix(); p != "" {
		c.forced = c.model.Tokenizer.Encode(p, tokenizer.EncodeOptions{ParseSpecial: true})
	}
	return ids, nil
}

func (s *Server) completion(w http.ResponseWriter, r *http.Request) {
	s.serve(w, r, func(body []byte) (*call, error) {
		c, err := s.newCall(body, inText)
		if err != nil {
			return nil, err
		}
		if c.model.Agent != nil {
			return nil, bad("model", "%s is a search agent: use /v1/chat/completions, or its model %s", c.model.ID,
				c.model.Parent)
		}
		texts, prompts, err := c.model.readPrompts("prompt", c.prompt)
		if err != nil {
			return nil, err
		}
		c.texts = texts
		for _, t := range texts {
			prompts = append(prompts, c.model.Tokenizer.Encode(t,
				tokenizer.EncodeOptions{AddSpecial: !c.noSpecial, ParseSpecial: true}))
		}
		return c, c.check("prompt", prompts)
	})
}

// defaultMaxTokens is the default of max_tokens on /v1/completions, as in OpenAI's API.
const defaultMaxTokens = 16

// newCall reads the body of a request and checks the parameters that both endpoints share.
func (s *Server) newCall(body []byte, in endpoint) (*call, error) {
	q, err := parse(body, in)
	if err != nil {
		return nil, err
	}
	m, err := s.model(q.model)
	if err != nil {
		return nil, err
	}
	if m.Use == Embeds {
		return nil, unsuited(m, "model %s makes vectors: ask /v1/embeddings")
	}
	c := &call{query: q, created: time.Now().Unix(), chat: in == inChat, model: m,
		choices: int(min(max(q.n, q.bestOf), maxChoices))}
	if c.id = q.requestID; c.id == "" {
		c.id = hex.EncodeToString(random(12))
	}
	longest := int64(m.context)
	switch {
	case q.scoresOnly():
		longest = 0
	case q.maxAsked() > 0:
		longest = min(longest, q.maxAsked())
	case !c.chat:
		longest = defaultMaxTokens
	}
	if c.id = "chatcmpl-" + c.id; !c.chat {
		c.id = strings.TrimPrefix(c.id, "chat")
	}
	if q.minTokens > longest {
		return nil, bad("min_tokens", "min_tokens is %d and more than the longest answer, %d tokens: raise max_tokens",
			q.minTokens, longest)
	}
	if len(q.stop) > 0 && m.Tokenizer == nil {
		return nil, bad("stop", "model %s has no tokenizer, so it cannot find stop strings: use stop_token_ids", m.ID)
	}
	if err := c.restrict(&s.grammars); err != nil {
		return nil, err
	}
	if err := m.checkIDs("stop_token_ids", q.stopIDs); err != nil {
		return nil, err
	}
	if err := m.checkIDs("logit_bias", slices.Sorted(maps.Keys(q.logitBias))); err != nil {
		return nil, err
	}
	eos := append([]int32{}, q.stopIDs...) // never nil, which would mean the model's
	if !q.ignoreEOS {
		eos = append(eos, m.EOS...)
	}
	slices.Sort(eos)
	eos = slices.Compact(eos)
	c.output = Output{Tokenizer: m.Tokenizer, EOS: eos, Stop: q.stop, MinTokens: int(q.minTokens),
		IncludeStop: q.includeStop, KeepSpecial: q.keepSpecial, listEnd: !c.chat}
	c.sample = engine.Request{Model: m.Engine, Adapter: m.Adapter, MaxTokens: int(longest), EOS: eos,
		Temperature: q.temperature, TopK: int(max(q.topK, 0)), TopP: q.topP, MinP: q.minP,
		Penalties: engine.Penalties{LogitBias: q.logitBias, Repetition: q.repetition,
			Frequency: q.frequency, Presence: q.presence, MinTokens: int(q.minTokens)}}
	if c.sample.TopP == 1 {
		c.sample.TopP = 0 // off
	}
	if c.seed = binary.LittleEndian.Uint64(random(8)); q.seed != nil {
		c.seed = uint64(*q.seed)
	}
	return c, nil
}

// model finds the model of that name; the first model if id is empty.
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

// check sets the prompts, if they fit the model's context and vocabulary.
func (c *call) check(param string, prompts [][]int32) error {
	room := c.model.context
	if !c.scoresOnly() {
		room-- // for the answer
	}
	for _, ids := range prompts {
		if len(ids) == 0 {
			return bad(param, "the prompt is empty")
		}
		if n := len(ids) + len(c.forced); n > room {
			e := bad(param, "the prompt has %d tokens, but prompt and answer together must fit into the context of "+
				"model %s, %d tokens: shorten the prompt", n, c.model.ID, c.model.context)
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

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return b
}
