package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/zerosearch-go/zerosearch/engine"
	"github.com/zerosearch-go/zerosearch/serve"
)

type generateCmd struct {
	common
	modelFlags
	Dir         string   `arg:"" optional:"" name:"dir" help:"The model, as --model names it."`
	Text        []string `arg:"" optional:"" name:"text" help:"The text to continue, as --prompt gives it."`
	Data        string   `name:"data" help:"Requests, a JSON object a line; - is stdin." default:"-" placeholder:"FILE"`
	Prompt      string   `name:"prompt" short:"p" help:"One text to continue, instead of --data; the continuation is printed as it comes."`
	MaxTokens   int      `name:"max-tokens" help:"Maximum number of tokens to generate." default:"128"`
	Stop        []string `name:"stop" help:"End before this text; may be repeated." sep:"none"`
	StopIDs     []int32  `name:"stop-token-ids" help:"End at these tokens, as at end-of-sequence tokens." placeholder:"ID"`
	MinTokens   int      `name:"min-tokens" help:"Least number of tokens: until then no end-of-sequence token, stop token or stop text ends the continuation." default:"0"`
	IgnoreEOS   bool     `name:"ignore-eos" help:"Do not end at end-of-sequence tokens."`
	IncludeStop bool     `name:"include-stop-str-in-output" help:"Keep the stop text, or the text of a stop token."`
	SkipSpecial bool     `name:"skip-special-tokens" negatable:"" help:"Special tokens leave no text." default:"true"`

	samplingFlags
}

type generateAnswer struct {
	IDs      []int32   `json:"ids"`
	Text     *string   `json:"text,omitempty"`
	Logprobs []float32 `json:"logprobs"`
	Finish   string    `json:"finish_reason"`
}

// check refuses invalid settings before a model is loaded.
func (c *generateCmd) check() error {
	switch {
	case c.MaxTokens < 1:
		return usagef("--max-tokens must be at least 1")
	case c.MinTokens < 0 || c.MinTokens > c.MaxTokens:
		return usagef("--min-tokens must not be negative, nor more than --max-tokens")
	case slices.Contains(c.Stop, ""):
		return usagef("--stop must not be empty")
	}
	if words := c.named(append([]string{c.Dir}, c.Text...)...); len(words) > 0 {
		if c.Prompt != "" {
			return usagef("--prompt and %q are both texts to continue: give one of them", joinArgs(words))
		}
		c.Prompt = joinArgs(words)
	}
	return c.samplingFlags.check()
}

// output is how tokens become text.
func (c *generateCmd) output(s *served) serve.Output {
	o := serve.Output{Tokenizer: s.model.Tokenizer, EOS: []int32{}, Stop: c.Stop, MinTokens: c.MinTokens,
		IncludeStop: c.IncludeStop, KeepSpecial: !c.SkipSpecial}
	if !c.IgnoreEOS {
		o.EOS = append(o.EOS, s.model.EOS()...)
	}
	o.EOS = append(o.EOS, c.StopIDs...)
	return o
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
	if n := int32(s.model.Model.Config.Vocab); slices.ContainsFunc(c.StopIDs,
		func(id int32) bool { return id < 0 || id >= n }) {
		return fmt.Errorf("--stop-token-ids %v: the model has ids from 0 to %d", c.StopIDs, n-1)
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
	add, end := c.output(s).Stream()
	var show func(t engine.Token)
	if !c.JSON {
		show = func(t engine.Token) { fmt.Fprint(w.out, add(t.ID)) }
	}
	a, err := c.answer(w.ctx, s, ids, 0, show)
	if err != nil {
		return err
	}
	if c.JSON {
		return writeJSON(w, a)
	}
	fmt.Fprintln(w.out, end())
	return nil
}

func (c *generateCmd) answer(ctx context.Context, s *served, ids []int32, n uint64,
	show func(engine.Token)) (generateAnswer, error) {
	o := c.output(s)
	r := c.request(s, ids, c.MaxTokens, n)
	r.EOS, r.Stop, r.OnToken, r.Penalties.MinTokens = o.EOS, o.Stopper(), show, c.MinTokens
	res, err := s.eng.Generate(ctx, r)
	if err != nil {
		return generateAnswer{}, err
	}
	a := generateAnswer{IDs: orEmpty(res.IDs), Logprobs: orEmpty(res.Logprobs), Finish: "length"}
	if res.Finish == engine.FinishStop {
		a.Finish = "stop"
	}
	if s.model.Tokenizer != nil {
		text := o.Text(res.IDs)
		a.Text = &text
	}
	return a, nil
}
