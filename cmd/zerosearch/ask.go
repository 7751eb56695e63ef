package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/term"

	"github.com/zerosearch-go/zerosearch/rl/assistant"
	"github.com/zerosearch-go/zerosearch/rl/config"
)

type askCmd struct {
	common
	simFlags
	modelFlags
	Question []string `arg:"" optional:"" help:"The question. Without one: JSON lines {question} from --data or stdin, or a session on a terminal." placeholder:"QUESTION"`
	Data     string   `name:"data" help:"Questions, a JSON object a line; - is stdin." default:"-" placeholder:"FILE"`
	Docs     []string `name:"docs" help:"What to search in: files or folders, as --corpus takes them; may be repeated." placeholder:"FILE|DIR"`
	Method   string   `name:"method" help:"How an answer is found: agent (the model searches in turns), rag (one retrieval), direct (from memory), or auto: agent for a model that train or sft of this program made (its folder is a checkpoint), and rag for any other or when the agent gives no answer; direct without documents." default:"auto" placeholder:"NAME"`
	Style    string   `name:"style" help:"What an answer looks like: short (a few words), or a longer text with citations: draft (an e-mail or letter), tutor (an explanation), report." default:"short" placeholder:"NAME"`

	Search config.Search `embed:""`
	limitFlags
}

type askRequest struct {
	Question string `json:"question"`
}

func (c *askCmd) Run(w *world) error {
	method, err := assistant.ParseMethod(c.Method)
	if err != nil {
		return usagef("--method: %w", err)
	}
	style, err := assistant.ParseStyle(c.Style)
	if err != nil {
		return usagef("--style: %w", err)
	}
	if err := c.chooseEngine(w); err != nil {
		return err
	}
	a, err := newAgent(w, c.common, c.modelFlags, c.simFlags, c.Search, c.limitFlags)
	if err != nil {
		return err
	}
	defer a.Close()
	with := assistant.New(assistant.Options{Worker: a.worker, Method: method, Style: style, Trained: a.model.Trained(),
		Documents: c.Search.Mode != "none" && !strings.Contains(c.Search.Label(), "simulated"),
		Corpus:    a.engines.Corpus, Seed: c.Seed, Note: w.note})
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

// chooseEngine takes bm25 where there is something to search in, or hybrid with an embedding model, unless a mode was
// asked for.
func (c *askCmd) chooseEngine(w *world) error {
	chosen := w.given("search-mode")
	if own := filepath.Join(c.Model, "corpus.jsonl"); !chosen && c.Search.Corpus == "" && len(c.Docs) == 0 &&
		c.Model != "" && exists(own) {
		c.Search.Corpus = own // a run directory that carries its world, as the demo's does
	}
	switch {
	case len(c.Docs) > 0 && (chosen && !c.Search.Indexed() || c.Search.Corpus != ""):
		return usagef("--docs contradicts --search-mode %s and --corpus: it is an index of its own", c.Search.Mode)
	case len(c.Docs) > 0:
		c.Search.Corpus = strings.Join(c.Docs, ",")
	}
	switch {
	case chosen || c.Search.Corpus == "":
	case c.Search.Embedding != "":
		c.Search.Mode = "hybrid"
	default:
		c.Search.Mode = "bm25"
	}
	if dir, err := os.UserCacheDir(); err == nil && c.Search.Index == "" {
		c.Search.Index = filepath.Join(dir, "zerosearch", "index")
	}
	if c.Search.NoiseRate == nil {
		c.Search.NoiseRate = new(float64)
	}
	if strings.Contains(c.Search.Label(), "simulated") && c.Method != "direct" {
		w.log.line("note: documents are made up by a model (--search-mode %s): give --corpus or --docs for real ones",
			c.Search.Mode)
	}
	return nil
}

func terminal(in io.Reader) bool {
	f, ok := in.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
