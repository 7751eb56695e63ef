package main

import (
	"bufio"
	"errors"
	"fmt"
	"strings"

	"github.com/zerosearch-go/zerosearch/engine"
	"github.com/zerosearch-go/zerosearch/serve"
	"github.com/zerosearch-go/zerosearch/tokenizer"
)

type chatCmd struct {
	common
	modelFlags
	Dir       string `arg:"" optional:"" name:"dir" help:"The model, as --model names it."`
	System    string `name:"system" help:"System message of the conversation." placeholder:"TEXT"`
	MaxTokens int    `name:"max-tokens" help:"Longest answer." default:"1024"`
	samplingFlags
}

// chatHelp is what /help prints.
const chatHelp = `Write a message and press Enter. A line that ends with \ goes on in the next one.
/new          begin another conversation
/system TEXT  begin another conversation with this system message; without TEXT: with none
/undo         take back the last message and its answer
/help         this list
/exit         leave; so does the end of input (Ctrl-D)`

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
	in := bufio.NewScanner(t.w.in)
	in.Buffer(nil, maxLine)
	for {
		text, more := t.read(in, typed)
		if !more {
			return in.Err()
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
func (t *talk) read(in *bufio.Scanner, typed bool) (string, bool) {
	var lines []string
	for prompt := "> "; ; prompt = "  " {
		if typed {
			fmt.Fprint(t.w.out, t.w.log.paint(1, prompt))
		}
		if !in.Scan() {
			if typed {
				fmt.Fprintln(t.w.out)
			}
			return strings.TrimSpace(strings.Join(lines, "\n")), len(lines) > 0
		}
		line, goesOn := strings.CutSuffix(in.Text(), `\`)
		if lines = append(lines, line); !goesOn {
			return strings.TrimSpace(strings.Join(lines, "\n")), true
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
