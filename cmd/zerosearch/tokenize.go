package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"

	"github.com/zerosearch-go/zerosearch/rl/data"
	"github.com/zerosearch-go/zerosearch/rl/rundir"
	"github.com/zerosearch-go/zerosearch/tokenizer"
)

type tokenizeCmd struct {
	common
	Tokenizer    string `name:"tokenizer" help:"Model folder, or a tokenizer.json alone." placeholder:"DIR|FILE"`
	Model        string `name:"model" help:"Model folder or run directory, as for the other verbs." placeholder:"DIR"`
	ChatTemplate string `name:"chat-template" help:"Jinja file that overrides the model's chat template." placeholder:"FILE"`
	Data         string `name:"data" help:"Requests, a JSON object a line; - is stdin." default:"-" placeholder:"FILE"`
}

// tokenizeRequest is text to encode, ids to decode, or a chat to render.
type tokenizeRequest struct {
	chat
	Text         *string `json:"text"`
	AddSpecial   *bool   `json:"add_special"`
	ParseSpecial *bool   `json:"parse_special"`
	IDs          []int32 `json:"ids"`
	SkipSpecial  bool    `json:"skip_special"`
}

// UnmarshalJSON reads the fields above, and the chat's.
func (r *tokenizeRequest) UnmarshalJSON(b []byte) error {
	type fields tokenizeRequest // without this method
	if err := json.Unmarshal(b, (*fields)(r)); err != nil {
		return err
	}
	return r.readVars(b)
}

type tokenizeAnswer struct {
	IDs  []int32 `json:"ids"`
	Text string  `json:"text"`
}

func (c *tokenizeCmd) Run(w *world) error {
	tok, tmpl, err := c.load()
	if err != nil {
		return err
	}
	in, err := w.input(c.Data)
	if err != nil {
		return err
	}
	defer in.Close()
	return eachLine(w, in, func(_ int, r tokenizeRequest) func(context.Context) (tokenizeAnswer, error) {
		return func(context.Context) (tokenizeAnswer, error) { return r.answer(tok, tmpl) }
	})
}

// load opens the tokenizer; template gives the chat template, or why there is none.
func (c *tokenizeCmd) load() (tok *tokenizer.Tokenizer, template func() (*tokenizer.Template, error), err error) {
	path := c.Tokenizer
	switch {
	case path == "" && c.Model == "":
		return nil, nil, usagef("--tokenizer is missing: give a model folder or a tokenizer.json")
	case path != "" && c.Model != "":
		return nil, nil, usagef("--tokenizer and --model contradict each other: give one of them")
	case path == "" || inCache(path):
		if path, err = rundir.ModelDir(cmp.Or(c.Model, path)); err != nil {
			return nil, nil, err
		}
	}
	if tok, err = tokenizer.Open(path); err != nil {
		return nil, nil, err
	}
	if c.ChatTemplate == "" {
		tmpl, err := tok.Chat()
		return tok, func() (*tokenizer.Template, error) { return tmpl, err }, nil
	}
	text, err := data.ReadText(c.ChatTemplate)
	if err != nil {
		return nil, nil, fmt.Errorf("reading --chat-template: %w", err)
	}
	tmpl, err := tok.ParseTemplate(string(text))
	if err != nil {
		return nil, nil, fmt.Errorf("reading --chat-template %s: %w", c.ChatTemplate, err)
	}
	return tok, func() (*tokenizer.Template, error) { return tmpl, nil }, nil
}

func (r tokenizeRequest) answer(tok *tokenizer.Tokenizer, template func() (*tokenizer.Template, error)) (tokenizeAnswer,
	error) {
	yes := func(p *bool) bool { return p == nil || *p }
	switch {
	case r.Text != nil:
		ids := tok.Encode(*r.Text, tokenizer.EncodeOptions{AddSpecial: yes(r.AddSpecial),
			ParseSpecial: yes(r.ParseSpecial)})
		return tokenizeAnswer{orEmpty(ids), *r.Text}, nil
	case r.Messages != nil:
		tmpl, err := template()
		if err != nil {
			return tokenizeAnswer{}, err
		}
		in, err := r.input(false)
		if err != nil {
			return tokenizeAnswer{}, err
		}
		m, err := tmpl.RenderMarked(in)
		if err != nil {
			return tokenizeAnswer{}, err
		}
		ids := tok.EncodeMarked(m)
		if yes(r.ParseSpecial) {
			ids = tok.Encode(m.Text, tokenizer.EncodeOptions{ParseSpecial: true})
		}
		return tokenizeAnswer{orEmpty(ids), m.Text}, nil
	case r.IDs != nil:
		for i, id := range r.IDs {
			if id < 0 {
				return tokenizeAnswer{}, fmt.Errorf("id %d at place %d is negative: ids count from 0", id, i)
			}
		}
		return tokenizeAnswer{r.IDs, tok.Decode(r.IDs, r.SkipSpecial)}, nil
	}
	return tokenizeAnswer{}, fmt.Errorf("the request has neither text nor ids nor messages")
}
