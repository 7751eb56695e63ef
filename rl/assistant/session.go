package assistant

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/zerosearch-go/zerosearch/internal/console"
)

// Session asks for questions, line by line, and remembers what was said.
type Session struct {
	Assistant *Assistant
	View      *View
	// Prompt stands before each line. Failed tells an error that does not end the session.
	Prompt string
	Failed func(err error)

	history []Exchange
	last    Answer
}

// sessionHelp says what a session understands.
const sessionHelp = `Ask a question, or:
  /new            forget what was said
  /method NAME    auto, agent (searches in turns), rag (retrieves once) or direct (from memory)
  /style NAME     short, draft, tutor or report
  /sources        the passages that the last answer cites
  /docs           what is searched
  /quit           end (or Ctrl-D)
`

// maxQuestion is the length of the longest line, in bytes.
const maxQuestion = 1 << 20

// Run reads lines until the input or ctx ends, or /quit.
func (s *Session) Run(ctx context.Context, in io.Reader) error {
	lines := console.Read(ctx, in, maxQuestion)
	for {
		fmt.Fprint(s.View.Out, s.Prompt)
		text, more, err := lines.Next(ctx)
		if !more {
			fmt.Fprintln(s.View.Out)
			return err
		}
		if quit, err := s.line(ctx, strings.TrimSpace(text)); quit || err != nil {
			return err
		}
	}
}

// line answers one line. An error ends the session.
func (s *Session) line(ctx context.Context, text string) (quit bool, err error) {
	if text == "" {
		return false, nil
	}
	if command, ok := strings.CutPrefix(text, "/"); ok {
		name, value, _ := strings.Cut(command, " ")
		return name == "quit" || name == "exit", s.command(name, strings.TrimSpace(value))
	}
	out, err := s.Assistant.Ask(ctx, text, s.history)
	if err != nil {
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		s.Failed(err)
		return false, nil
	}
	s.View.Finish(out)
	s.last = out
	if out.Answer != nil {
		s.history = append(s.history, Exchange{text, WithoutMarks(*out.Answer)})
	}
	return false, nil
}

// command carries out a line that begins with a slash.
func (s *Session) command(name, value string) error {
	w := s.View.Out
	switch name {
	case "help":
		fmt.Fprint(w, sessionHelp)
	case "quit", "exit":
	case "new":
		s.history, s.last = nil, Answer{}
	case "method":
		if m, err := ParseMethod(value); err != nil {
			s.Failed(err)
		} else {
			s.Assistant.Method = m
		}
	case "style":
		if style, err := ParseStyle(value); err != nil {
			s.Failed(err)
		} else {
			s.Assistant.Style = style
		}
	case "sources":
		s.sources(w)
	case "docs":
		if s.Assistant.Corpus == nil {
			fmt.Fprintln(w, "no documents: give some with --docs")
		} else {
			fmt.Fprintln(w, s.Assistant.Corpus.Summary())
		}
	default:
		s.Failed(fmt.Errorf("/%s is not known: /help lists the commands", line(name)))
	}
	return nil
}

// sources shows the passages that the last answer cites.
func (s *Session) sources(w io.Writer) {
	if len(s.last.Citations) == 0 {
		fmt.Fprintln(w, "the last answer cites nothing")
	}
	for _, c := range s.last.Citations {
		number := fmt.Sprintf("[%d.%d]", c.Turn, c.Document)
		if s.Assistant.Style != Short {
			number = fmt.Sprintf("[%d]", c.Document)
		}
		place := ""
		if c.Source != nil {
			place = line(c.Source.String()) + "\n  "
		}
		fmt.Fprintf(w, "%s %s%s\n", number, place, line(c.Text))
	}
}
