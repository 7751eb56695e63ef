package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"golang.org/x/term"

	"github.com/zerosearch-go/zerosearch/rl/assistant"
)

type askCmd struct {
	common
	modelFlags
	Question []string `arg:"" optional:"" help:"The question. Without one: JSON lines {question} from --data or stdin, or a session on a terminal." placeholder:"QUESTION"`
	Data     string   `name:"data" help:"Questions, a JSON object a line; - is stdin." default:"-" placeholder:"FILE"`
	documentFlags
	limitFlags
}

type askRequest struct {
	Question string `json:"question"`
}

func (c *askCmd) Run(w *world) error {
	method, style, err := c.how()
	if err != nil {
		return err
	}
	if err := c.chooseEngine(w, c.Model); err != nil {
		return err
	}
	c.noteMadeUp(w)
	a, err := newAgent(w, c.common, c.modelFlags, c.simFlags, c.Search, c.limitFlags)
	if err != nil {
		return err
	}
	defer a.Close()
	o := c.assistant(a, method, style)
	o.Seed, o.Note = c.Seed, w.note
	with := assistant.New(o)
	if with.Corpus != nil && len(c.Docs) > 0 {
		w.log.line("%s", with.Corpus.Summary())
	}
	view := &assistant.View{Out: w.out, Paint: w.log.paint, Warn: func(text string) { w.log.line("warning: %s", text) }}
	switch {
	case len(c.Question) > 0 && c.JSON:
		return c.one(w, with, func(out assistant.Answer) error { return writeJSON(w, out) })
	case len(c.Question) > 0:
		view.Attach(with)
		return c.one(w, with, func(out assistant.Answer) error { view.Finish(out); return nil })
	case c.Data == "-" && terminal(w.in):
		view.Attach(with)
		s := assistant.Session{Assistant: with, View: view, Prompt: w.log.paint(1, "question> "),
			Failed: func(err error) { w.log.line("error: %s", errorLine(err)) }}
		w.log.line("ask a question, or /help")
		return s.Run(w.ctx, w.in)
	}
	in, err := w.input(c.Data)
	if err != nil {
		return err
	}
	defer in.Close()
	return eachLine(w, in, func(_ int, r askRequest) func(context.Context) (assistant.Answer, error) {
		return func(ctx context.Context) (assistant.Answer, error) { return with.Ask(ctx, r.Question, nil) }
	})
}

// one answers the question of the command line. Without an answer the command fails.
func (c *askCmd) one(w *world, a *assistant.Assistant, show func(assistant.Answer) error) error {
	out, err := a.Ask(w.ctx, joinArgs(c.Question), nil)
	if err == nil {
		err = show(out)
	}
	if err == nil && out.Answer == nil {
		err = fmt.Errorf(
			"answering the question: the model gave no answer (%s): ask otherwise, or try another --method "+
				"than %s", out.Status, out.Method)
	}
	return err
}

func terminal(in io.Reader) bool {
	f, ok := in.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
