package sft

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/zerosearch-go/zerosearch/tokenizer"
)

// tally counts messages of the assistant that are trained on differently than a user may expect.
type tally struct {
	answers   int    // all messages of the assistant that could be trained on
	rewritten int    // those that the template renders differently than they were generated
	prefilled int    // those that do not begin with the text that the generation prompt adds
	thoughts  int    // those whose thought the template leaves out
	prefill   string // the text that the generation prompt adds, of one of prefilled
	why       error  // the reason for one of rewritten
}

// Notes gives a line for each kind of messages that are trained on differently than a user may expect.
func (t *tally) Notes() (out []string) {
	note := func(n int, format string, args ...any) {
		if n > 0 {
			out = append(out, fmt.Sprintf("%d of %d messages of the assistant are ", n, t.answers)+fmt.Sprintf(format,
				args...))
		}
	}
	note(t.rewritten,
		"context only, not trained on: %v: to train on them, write a separate row for each that ends with it", t.why)
	note(t.prefilled,
		"trained on without %q, which the chat template's generation prompt adds and they do not begin with", t.prefill)
	note(t.thoughts, "trained on without their thought: the chat template leaves it out")
	return out
}

// turn is a message of the assistant in the text of a conversation: the text that the model generates, from byte start
// up to byte end.
type turn struct{ start, end int }

// chat renders the conversation up to the last message of the assistant with the chat template. The assistant's
// messages from index from on are trained on. In these messages the text of a special token becomes that token, as in
// TRL; in all other messages it stays plain text, as in every prompt. A message is trained on only if the rendered text
// contains it as it was generated: after its generation prompt, up to the end of its turn. A message that the template
// renders differently once later messages follow (Qwen3 drops the thoughts of earlier turns) is context.
func (c *Coder) chat(in tokenizer.ChatInput, from int) (e Example, err error) {
	last := len(in.Messages) - 1
	for last >= from && in.Messages[last].Role != "assistant" {
		last--
	}
	if last < from {
		return e, errors.New("nothing in it is trained on: there is no message of the assistant")
	}
	in.Messages = in.Messages[:last+1]
	whole, err := c.Template.RenderMarked(in)
	if err != nil {
		return e, err
	}
	var turns []turn
	done := 0
	for i := from; i <= last; i++ {
		if in.Messages[i].Role != "assistant" {
			continue
		}
		c.answers++
		t, cause := c.locate(in, i, whole.Text)
		if cause == nil && t.start < done {
			cause = errRewritten
		}
		if cause != nil {
			c.rewritten++
			c.why = cause
			err = fmt.Errorf("message %d cannot be trained on: %w: give prompt and completion as text, or ids and mask",
				i+1, cause)
			continue
		}
		turns = append(turns, t)
		whole = whole.Trust(t.start, t.end)
		done = t.end
	}
	if turns == nil {
		return e, err
	}
	return join(len(whole.Text), turns, func(i, j int) []int32 { return c.Tokenizer.EncodeMarked(whole.Slice(i, j)) }),
		nil
}

var errRewritten = errors.New("the chat template rewrites earlier messages when later ones come")

// locate finds message i in whole, the text of the complete conversation.
func (c *Coder) locate(in tokenizer.ChatInput, i int, whole string) (t turn, err error) {
	message := in.Messages[i]
	render := func(messages []tokenizer.Message, open bool) (string, error) {
		in := in
		in.Messages, in.AddGenerationPrompt = messages, open
		return c.Template.Render(in)
	}
	prompt, err := render(in.Messages[:i:i], true)
	if err != nil {
		return t, fmt.Errorf("nothing can be generated before it: %w", err)
	}
	then, err := render(in.Messages[:i+1], false) // the conversation up to this message
	if err != nil {
		return t, err
	}
	t.start = len(prompt)
	added := ""
	if !strings.HasPrefix(then, prompt) {
		const content = "\uE000" // a character of Unicode's private use area, which no template or message begins with
		other, err := render(append(in.Messages[:i:i], tokenizer.Message{Role: message.Role, Content: content}), false)
		if err != nil {
			return t, err
		}
		t.start = strings.LastIndex(other, content)
		if t.start < 0 || !strings.HasPrefix(prompt, other[:t.start]) || !strings.HasPrefix(then, other[:t.start]) {
			if before, err := render(in.Messages[:i:i], false); err != nil || !strings.HasPrefix(then, before) {
				return t, errRewritten
			}
			return t,
				fmt.Errorf(
					"the generation prompt, which ends with %q, does not begin the message as the chat template "+
						"writes it", tail(prompt))
		}
		added = prompt[t.start:]
	}
	t.end = t.start + c.turnEnd(then[t.start:])
	if !strings.HasPrefix(whole, then[:t.end]) {
		return t, errRewritten
	}
	if added != "" {
		c.prefilled++
		c.prefill = added
	}
	if dropsThought(message, then[:t.end][t.start:]) {
		c.thoughts++
	}
	return t, nil
}

// tail is the end of a text, at most 30 bytes.
func tail(text string) string {
	const most = 30
	if len(text) > most {
		text = strings.ToValidUTF8(text[len(text)-most:], "")
	}
	return text
}

// dropsThought says whether a message has a thought that is not in its rendered text.
func dropsThought(m tokenizer.Message, text string) bool {
	thought, _, ends := strings.Cut(m.Content, "</think>")
	if !ends {
		thought = m.ReasoningContent
	}
	if _, inside, begins := strings.Cut(thought, "<think>"); begins {
		thought = inside
	}
	return !strings.Contains(text, strings.TrimSpace(thought))
}

// turnEnd is the end of the model's turn in text, as a byte offset. text begins with the message that the model
// generates and ends with the special tokens that the template appends, possibly with white space between them. The
// turn ends after the first of these tokens that is an end-of-sequence token or, if none is, after the last of them. If
// the template appends no special token the turn is the complete text.
func (c *Coder) turnEnd(text string) int {
	end, found := len(text), false
	for rest := text; ; {
		rest = strings.TrimRightFunc(rest, unicode.IsSpace)
		i := slices.IndexFunc(c.specialTokens(), func(s string) bool { return strings.HasSuffix(rest, s) })
		if i < 0 {
			return end
		}
		id, _ := c.Tokenizer.ID(c.specials[i])
		if !found || slices.Contains(c.EOS, id) {
			end, found = len(rest), true
		}
		rest = strings.TrimSuffix(rest, c.specials[i])
	}
}

// specialTokens are the texts of all special tokens, [special tokens], the longest first.
func (c *Coder) specialTokens() []string {
	if c.specials == nil {
		for id := range int32(c.Tokenizer.VocabSize()) {
			if token, ok := c.Tokenizer.Token(id); ok && token != "" && c.Tokenizer.Special(id) {
				c.specials = append(c.specials, token)
			}
		}
		slices.SortStableFunc(c.specials, func(a, b string) int { return len(b) - len(a) })
	}
	return c.specials
}
