package main

import (
	"errors"
	"fmt"

	"github.com/zerosearch-go/zerosearch/engine"
	"github.com/zerosearch-go/zerosearch/serve"
	"github.com/zerosearch-go/zerosearch/tokenizer"
)

type chatCmd struct {
	common
	modelFlags
	Dir       string `arg:"" optional:"" name:"dir" help:"The model, as --model names it."`
	System    string `name:"system" help:"System message of the conversation." placeholder:"TEXT"`
	MaxTokens int    `name:"max-tokens" help:"Maximum number of tokens of an answer." default:"1024"`
	samplingFlags
}

// chatAnswer is what --json prints for each message.
type chatAnswer struct {
	Content string `json:"content"`
	Finish  string `json:"finish_reason"` // stop or length
	Prompt  int    `json:"prompt_tokens"`
	Tokens  int    `json:"completion_tokens"`
}

func (c *chatCmd) Run(w *world) error {
	if err := c.samplingFlags.check(); err != nil {
		return err
	}
	if c.MaxTokens < 1 {
		return usagef("--max-tokens must be at least 1")
	}
	if left := c.named(c.Dir); len(left) > 0 {
		return usagef("%q is one word too many: the model is given by --model already; messages are typed", left[0])
	}
	s, err := c.serve(w, c.common)
	if err != nil {
		return err
	}
	defer s.Close()
	if s.model.Tokenizer == nil {
		return errors.New("chatting: the model has no tokenizer.json: give a model folder that has one")
	}
	if s.model.Template == nil {
		return errors.New("chatting: the model has no chat template: give --chat-template FILE, or use generate")
	}
	t := &talk{chatCmd: c, w: w, s: s}
	t.begin(c.System)
	return t.loop()
}

// answer sends a message and prints the answer as it comes. A message that cannot be answered is not kept.
func (t *talk) answer(text string) error {
	asked := append(t.messages[:len(t.messages):len(t.messages)], tokenizer.Message{Role: "user", Content: text})
	req := chat{Messages: asked, Vars: map[string]any{}}
	ids, err := t.s.encode(nil, nil, &req)
	if err != nil {
		return err
	}
	o := serve.Output{Tokenizer: t.s.model.Tokenizer, EOS: t.s.model.EOS()}
	add, end := o.Stream()
	r := t.request(t.s, ids, t.MaxTokens, t.answers)
	r.EOS = o.EOS
	if !t.JSON {
		r.OnToken = func(x engine.Token) { fmt.Fprint(t.w.out, add(x.ID)) }
	}
	res, err := t.s.eng.Generate(t.w.ctx, r)
	if err != nil {
		return fmt.Errorf("%w; /new begins another conversation", err)
	}
	t.answers++
	a := chatAnswer{Content: o.Text(res.IDs), Finish: "length", Prompt: len(ids), Tokens: len(res.IDs)}
	if res.Finish == engine.FinishStop {
		a.Finish = "stop"
	}
	t.messages = append(asked, tokenizer.Message{Role: "assistant", Content: a.Content})
	if t.JSON {
		return writeJSON(t.w, a)
	}
	fmt.Fprintln(t.w.out, end())
	if a.Finish == "length" {
		t.w.log.line("note: the answer was cut after %d tokens: --max-tokens allows more", a.Tokens)
	}
	return nil
}
