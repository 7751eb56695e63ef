package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/term"

	"github.com/zerosearch-go/zerosearch/rl/config"
	"github.com/zerosearch-go/zerosearch/rl/data"
	"github.com/zerosearch-go/zerosearch/rl/episode"
	"github.com/zerosearch-go/zerosearch/rl/reward"
)

type askCmd struct {
	common
	simFlags
	modelFlags
	Question []string `arg:"" optional:"" help:"The question. Without one: JSON lines {question} from --data or stdin, or a session on a terminal." placeholder:"QUESTION"`
	Data     string   `name:"data" help:"Questions, a JSON object a line; - is stdin." default:"-" placeholder:"FILE"`
	Docs     []string `name:"docs" help:"What to search in: files or folders, as --corpus takes them; may be repeated." placeholder:"FILE|DIR"`

	Search config.Search `embed:""`
	limitFlags
}

type askRequest struct {
	Question string `json:"question"`
}

type askAnswer struct {
	Answer    *string    `json:"answer"` // null: none was given
	Turns     []askTurn  `json:"turns"`
	Citations []citation `json:"citations"`
	Status    string     `json:"status"`
}

type askTurn struct {
	Think     string   `json:"think"`
	Search    *string  `json:"search"` // null: the turn did not search
	Documents []string `json:"documents"`
}

// citation is a document that holds the answer: the words of the answer, in order, occur in it after the scorer's
// normalisation (case, punctuation and articles do not count). It shows where the answer can be checked, not that the
// model took it from there.
type citation struct {
	Turn     int    `json:"turn"`     // from 1
	Document int    `json:"document"` // from 1, as numbered in the turn
	Text     string `json:"text"`
}

func (c *askCmd) Run(w *world) error {
	if err := c.chooseEngine(w); err != nil {
		return err
	}
	a, err := newAgent(w, c.common, c.modelFlags, c.simFlags, c.Search, c.limitFlags)
	if err != nil {
		return err
	}
	defer a.Close()
	switch {
	case len(c.Question) > 0:
		return c.one(w, a, joinArgs(c.Question))
	case c.Data == "-" && terminal(w.in):
		return c.session(w, a)
	}
	in, err := w.input(c.Data)
	if err != nil {
		return err
	}
	defer in.Close()
	return eachLine(w, in, func(_ int, r askRequest) func(context.Context) (askAnswer, error) {
		return func(ctx context.Context) (askAnswer, error) { return c.ask(ctx, a, r.Question, nil) }
	})
}

// chooseEngine takes bm25 where there is something to search in, unless a mode was asked for.
func (c *askCmd) chooseEngine(w *world) error {
	chosen := w.given("search-mode")
	if len(c.Docs) > 0 {
		if chosen && c.Search.Mode != "bm25" || c.Search.Corpus != "" {
			return usagef("--docs contradicts --search-mode %s and --corpus: it is an index of its own", c.Search.Mode)
		}
		c.Search.Mode, c.Search.Corpus = "bm25", strings.Join(c.Docs, ",")
		return nil
	}
	if own := filepath.Join(c.Model, "corpus.jsonl"); !chosen && c.Search.Corpus == "" && c.Model != "" && exists(own) {
		c.Search.Corpus = own // a run directory that carries its world, as the demo's does
	}
	if !chosen && c.Search.Corpus != "" {
		c.Search.Mode = "bm25"
	}
	if c.Search.NoiseRate == nil {
		c.Search.NoiseRate = new(float64)
	}
	if strings.Contains(c.Search.Label(), "simulated") {
		w.log.line("note: documents are made up by a model (--search-mode %s): give --corpus or --docs for real ones",
			c.Search.Mode)
	}
	return nil
}

// ask runs one episode. onTurn, if not nil, sees its turns as they end.
func (c *askCmd) ask(ctx context.Context, a *agent, question string, onTurn func(n int, t askTurn)) (askAnswer, error) {
	if strings.TrimSpace(question) == "" {
		return askAnswer{}, fmt.Errorf("the request has no question")
	}
	r := a.worker
	if onTurn != nil {
		r.Runner.OnTurn = func(_ episode.Task, n int, t episode.Turn) { onTurn(n+1, turnOf(t)) }
	}
	asked := []data.Question{{ID: "asked", Question: question}}
	if note, err := r.Check(asked); err != nil {
		return askAnswer{}, err
	} else if note != "" {
		a.tight.Do(func() { a.log.line("note: %s", note) }) // once: the prompt is the same around every question
	}
	all, err := r.Evaluate(ctx, asked, r.Runner.Config.Sampling, c.Seed, 0)
	if err != nil {
		return askAnswer{}, err
	}
	e := all[0]
	if err := ctx.Err(); err != nil {
		return askAnswer{}, err
	}
	if e.Status == episode.SearchFailed {
		return askAnswer{}, fmt.Errorf("searching: %s", e.Err)
	}
	out := askAnswer{Turns: []askTurn{}, Citations: []citation{}, Status: string(e.Status)}
	if answer, ok := e.Answer(); ok {
		out.Answer = &answer
		out.Citations = cite(e, answer)
	}
	for _, t := range e.Turns {
		out.Turns = append(out.Turns, turnOf(t))
	}
	return out, nil
}

// turnOf is what a reader wants to see of a turn.
func turnOf(t episode.Turn) askTurn {
	out := askTurn{Documents: orEmpty(t.Documents)}
	if _, rest, ok := strings.Cut(t.FullText(), "<think>"); ok {
		think, _, _ := strings.Cut(rest, "</think>")
		out.Think = strings.TrimSpace(think)
	}
	if t.Action == episode.Search {
		query := t.Content
		out.Search = &query
	}
	return out
}

// cite finds the documents that hold the answer.
func cite(e *episode.Episode, answer string) []citation {
	out := []citation{}
	for i, t := range e.Turns {
		for k, d := range t.Documents {
			if reward.SubEM(d, []string{answer}) > 0 {
				out = append(out, citation{i + 1, k + 1, d})
			}
		}
	}
	return out
}

// one answers the question of the command line.
func (c *askCmd) one(w *world, a *agent, question string) error {
	if c.JSON {
		out, err := c.ask(w.ctx, a, question, nil)
		if err != nil {
			return err
		}
		return writeJSON(w, out)
	}
	return c.show(w, a, question)
}

// show prints turns as they come, then the answer.
func (c *askCmd) show(w *world, a *agent, question string) error {
	p := w.log
	out, err := c.ask(w.ctx, a, question, func(n int, t askTurn) {
		if t.Think != "" {
			fmt.Fprintf(w.out, "%s %s\n", p.paint(2, "think:"), oneLine(t.Think))
		}
		if t.Search != nil {
			fmt.Fprintf(w.out, "%s %s\n", p.paint(36, "search:"), oneLine(*t.Search))
		}
		for i, d := range t.Documents {
			fmt.Fprintf(w.out, "  [%d.%d] %s\n", n, i+1, oneLine(d))
		}
	})
	if err != nil {
		return err
	}
	if out.Answer == nil {
		fmt.Fprintf(w.out, "%s (%s)\n", p.paint(33, "no answer"), out.Status)
		return nil
	}
	fmt.Fprintf(w.out, "%s %s", p.paint(32, "answer:"), oneLine(*out.Answer))
	for _, s := range out.Citations {
		fmt.Fprintf(w.out, " [%d.%d]", s.Turn, s.Document)
	}
	fmt.Fprintln(w.out)
	return nil
}

// session asks for questions on a terminal until the end of input.
func (c *askCmd) session(w *world, a *agent) error {
	in := bufio.NewScanner(w.in)
	in.Buffer(nil, maxLine)
	for {
		fmt.Fprint(w.out, w.log.paint(1, "question> "))
		if !in.Scan() {
			fmt.Fprintln(w.out)
			return in.Err()
		}
		if strings.TrimSpace(in.Text()) == "" {
			continue
		}
		if err := c.show(w, a, in.Text()); err != nil {
			if w.ctx.Err() != nil {
				return err
			}
			w.log.line("error: %s", errorLine(err))
		}
	}
}

func terminal(in io.Reader) bool {
	f, ok := in.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
