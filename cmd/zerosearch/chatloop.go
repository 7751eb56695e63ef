package main

import (
	"fmt"
	"strings"

	"github.com/zerosearch-go/zerosearch/internal/console"
	"github.com/zerosearch-go/zerosearch/internal/jsonlines"
	"github.com/zerosearch-go/zerosearch/tokenizer"
)

// chatHelp is what /help prints.
const chatHelp = `Write a message and press Enter. A line that ends with \ goes on in the next one.
/new          begin another conversation
/system TEXT  begin another conversation with this system message; without TEXT: with none
/undo         take back the last message and its answer
/help         this list
/exit         leave; so does the end of input (Ctrl-D)`

// talk is a conversation.
type talk struct {
	*chatCmd
	w        *world
	s        *served
	messages []tokenizer.Message
	answers  uint64
}

// begin forgets the conversation.
func (t *talk) begin(system string) {
	t.messages = nil
	if system != "" {
		t.messages = append(t.messages, tokenizer.Message{Role: "system", Content: system})
	}
}

// loop answers messages until the end of input. On a terminal an error does not end it.
func (t *talk) loop() error {
	typed := terminal(t.w.in)
	if typed {
		t.w.log.line("%s: /help lists what can be typed besides messages, /exit leaves", t.Model)
	}
	in := console.Read(t.w.ctx, t.w.in, jsonlines.MaxLine)
	for {
		text, more, err := t.read(in, typed)
		if !more || err != nil {
			return err
		}
		word, rest, _ := strings.Cut(text, " ")
		switch rest = strings.TrimSpace(rest); {
		case text == "":
		case word == "/exit" || word == "/quit":
			return nil
		case word == "/help":
			fmt.Fprintln(t.w.out, chatHelp)
		case word == "/new":
			t.begin(t.System)
		case word == "/system":
			t.System = rest
			t.begin(rest)
		case word == "/undo":
			t.undo()
		case strings.HasPrefix(word, "/") && !strings.Contains(word[1:], "/"):
			t.w.log.line("error: there is no %s: /help lists what there is", word)
		default:
			if err := t.answer(text); err != nil {
				if t.w.ctx.Err() != nil || !typed {
					return err
				}
				t.w.log.line("error: %s", errorLine(err))
			}
		}
	}
}

// read gives the next message; false at the end of input.
func (t *talk) read(in *console.Lines, typed bool) (text string, more bool, err error) {
	var lines []string
	for prompt := "> "; ; prompt = "  " {
		if typed {
			fmt.Fprint(t.w.out, t.w.log.paint(1, prompt))
		}
		line, more, err := in.Next(t.w.ctx)
		if !more {
			if typed {
				fmt.Fprintln(t.w.out)
			}
			return strings.TrimSpace(strings.Join(lines, "\n")), len(lines) > 0, err
		}
		line, goesOn := strings.CutSuffix(line, `\`)
		if lines = append(lines, line); !goesOn {
			return strings.TrimSpace(strings.Join(lines, "\n")), true, nil
		}
	}
}

// undo takes back the last exchange.
func (t *talk) undo() {
	for i := len(t.messages) - 1; i >= 0; i-- {
		if t.messages[i].Role == "user" {
			t.messages = t.messages[:i]
			return
		}
	}
	t.w.log.line("there is nothing to take back")
}
