package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/zerosearch-go/zerosearch/engine"
	"github.com/zerosearch-go/zerosearch/tokenizer"
)

type generateCmd struct {
	common
	modelFlags
	Data        string   `name:"data" help:"Requests, a JSON object a line; - is stdin." default:"-" placeholder:"FILE"`
	Prompt      string   `name:"prompt" short:"p" help:"One text to continue, instead of --data; the continuation is printed as it comes."`
	MaxTokens   int      `name:"max-tokens" help:"Longest continuation." default:"128"`
	Temperature float64  `name:"temperature" help:"0 is greedy." default:"1"`
	TopP        float64  `name:"top-p" help:"Nucleus; 1: off." default:"1"`
	TopK        int      `name:"top-k" help:"0: off." default:"0"`
	MinP        float64  `name:"min-p" help:"0: off." default:"0"`
	Stop        []string `name:"stop" help:"End before this text; may be repeated." sep:"none"`
	IgnoreEOS   bool     `name:"ignore-eos" help:"Do not end at end-of-sequence ids."`
	Seed        uint64   `name:"seed" help:"Seed of sampling." default:"1"`
}

type generateRequest struct {
	chat
	IDs  []int32 `json:"ids"`
	Text *string `json:"text"`
}

// UnmarshalJSON reads the fields above, and the chat's.
func (r *generateRequest) UnmarshalJSON(b []byte) error {
	type fields generateRequest // without this method
	if err := json.Unmarshal(b, (*fields)(r)); err != nil {
		return err
	}
	return r.readVars(b)
}

type generateAnswer struct {
	IDs      []int32   `json:"ids"`
	Text     *string   `json:"text,omitempty"`
	Logprobs []float32 `json:"logprobs"`
	Finish   string    `json:"finish_reason"`
}

// check refuses settings that cannot be, before a model is loaded.
func (c *generateCmd) check() error {
	switch {
	case c.MaxTokens < 1:
		return usagef("--max-tokens must be at least 1")
	case !(c.Temperature >= 0):
		return usagef("--temperature must not be negative; 0 is greedy")
	case !(c.TopP > 0 && c.TopP <= 1) || !(c.MinP >= 0 && c.MinP <= 1) || c.TopK < 0:
		return usagef("--top-p must be above 0 and at most 1, --min-p between 0 and 1, --top-k not negative")
	}
	return nil
}

func (c *generateCmd) Run(w *world) error {
	if err := c.check(); err != nil {
		return err
	}
	s, err := c.serve(w, c.common)
	if err != nil {
		return err
	}
	defer s.Close()
	if len(c.Stop) > 0 {
		if err := needTokenizer(s); err != nil {
			return fmt.Errorf("--stop: %w", err)
		}
	}
	if c.Prompt != "" {
		return c.one(w, s)
	}
	in, err := w.input(c.Data)
	if err != nil {
		return err
	}
	defer in.Close()
	return eachLine(w, in, func(n int, r generateRequest) func(context.Context) (generateAnswer, error) {
		return func(ctx context.Context) (generateAnswer, error) {
			ids, err := s.encode(r.IDs, r.Text, &r.chat)
			if err != nil {
				return generateAnswer{}, err
			}
			return c.answer(ctx, s, ids, uint64(n), nil)
		}
	})
}

// one continues --prompt and prints as it goes.
func (c *generateCmd) one(w *world, s *served) error {
	ids, err := s.encode(nil, &c.Prompt, &chat{})
	if err != nil {
		return err
	}
	dec := s.model.Tokenizer.NewDecoder(true)
	var show func(t engine.Token)
	if !c.JSON {
		show = func(t engine.Token) { fmt.Fprint(w.out, dec.Add(t.ID)) }
	}
	a, err := c.answer(w.ctx, s, ids, 0, show)
	if err != nil {
		return err
	}
	if c.JSON {
		return writeJSON(w, a)
	}
	fmt.Fprintln(w.out, dec.Flush())
	return nil
}

// encode makes ids of what a request holds.
func (s *served) encode(ids []int32, text *string, c *chat) ([]int32, error) {
	switch {
	case ids != nil:
		return ids, nil
	case text == nil && c.Messages == nil:
		return nil, fmt.Errorf("the request has neither ids nor text nor messages")
	}
	if err := needTokenizer(s); err != nil {
		return nil, err
	}
	tok := s.model.Tokenizer
	if c.Messages == nil {
		return tok.Encode(*text, tokenizer.EncodeOptions{AddSpecial: true, ParseSpecial: true}), nil
	}
	if s.model.Template == nil {
		return nil, fmt.Errorf("the model has no chat template: give --chat-template FILE, or send {\"text\"}")
	}
	return tok.EncodeChat(s.model.Template, c.input(true))
}

func (c *generateCmd) answer(ctx context.Context, s *served, ids []int32, n uint64, show func(engine.Token)) (generateAnswer, error) {
	r := engine.Request{Model: served0, Adapter: s.model.Adapter, Prompt: ids, MaxTokens: c.MaxTokens, Temperature: c.Temperature, TopK: c.TopK,
		TopP: c.TopP, MinP: c.MinP, EOS: s.model.EOS(), Stream: engine.Stream(c.Seed, n), OnToken: show}
	if c.IgnoreEOS {
		r.EOS = []int32{}
	}
	if len(c.Stop) > 0 {
		r.Stop = func(got []int32) bool { return stopAt(s.model.Tokenizer.Decode(got, true), c.Stop) >= 0 }
	}
	res, err := s.eng.Generate(ctx, r)
	if err != nil {
		return generateAnswer{}, err
	}
	a := generateAnswer{IDs: orEmpty(res.IDs), Logprobs: orEmpty(res.Logprobs), Finish: "length"}
	if res.Finish == engine.FinishStop {
		a.Finish = "stop"
	}
	if s.model.Tokenizer != nil {
		text := s.model.Tokenizer.Decode(res.IDs, true)
		if at := stopAt(text, c.Stop); at >= 0 {
			text = text[:at]
		}
		a.Text = &text
	}
	return a, nil
}

// stopAt is where the first of stops begins in text, or -1.
func stopAt(text string, stops []string) int {
	at := -1
	for _, s := range stops {
		if i := strings.Index(text, s); i >= 0 && (at < 0 || i < at) {
			at = i
		}
	}
	return at
}
