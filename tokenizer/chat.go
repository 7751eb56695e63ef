package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/zerosearch-go/zerosearch/tokenizer/internal/jinja"
)

// A Template renders conversations as the text that a chat model was trained on. It is safe for concurrent use.
type Template struct {
	named   map[string]*jinja.Template // by name: "default", "tool_use" and others
	broken  map[string]error           // templates that cannot be parsed
	special map[string]jinja.Value     // variables: special tokens, and those set by With
	source  string                     // text of all templates
	main    string                     // text of the template "default"
}

// ChatInput is the input of a template.
type ChatInput struct {
	Messages            []Message
	Tools               []json.RawMessage // function descriptions; the order of keys is kept
	AddGenerationPrompt bool              // end with the start of an assistant message
	// more variables, such as enable_thinking; any values that encoding/json can encode
	Vars map[string]any
	Now  time.Time // the date that some templates print; zero: the current time

	// ContinueFinalMessage ends the text with the content of the last message, so that the model continues it.
	// It excludes AddGenerationPrompt.
	ContinueFinalMessage bool
}

// Mentions reports whether the template's text contains word, such as the name of a role.
func (c *Template) Mentions(word string) bool { return strings.Contains(c.source, word) }

// ParseTemplate parses a chat template (Jinja). An error names the line and the construct that is not supported. Token
// variables such as bos_token are undefined unless Vars sets them; Tokenizer.ParseTemplate sets them.
func ParseTemplate(text string) (*Template, error) {
	c := newTemplate()
	c.parse(defaultTemplate, text)
	return c, c.Err()
}

func newTemplate() *Template {
	return &Template{named: map[string]*jinja.Template{}, broken: map[string]error{}, special: map[string]jinja.Value{}}
}

const otherTemplate = "another template can be given with --chat-template FILE"

func (c *Template) parse(name, text string) {
	t, err := jinja.Parse(validText(text))
	if err != nil {
		c.broken[name] = fmt.Errorf("reading chat template: %w: "+otherTemplate, err)
		return
	}
	c.named[name] = t
	if c.source += text; name == defaultTemplate {
		c.main = text
	}
}

// With returns a copy of the template with a variable set, such as enable_thinking. A ChatInput's Vars override it. If
// the template does not use the variable, With returns an error.
func (c *Template) With(name string, v any) (*Template, error) {
	if !c.Mentions(name) {
		return nil, fmt.Errorf("the chat template does not use %s", name)
	}
	value, err := jinja.FromGo(v)
	if err != nil {
		return nil, fmt.Errorf("chat template: variable %s: %w", name, err)
	}
	out := *c
	out.special = maps.Clone(c.special)
	out.special[name] = value
	return &out, nil
}

// Source is the template's text: of several templates the one for conversations without tools.
func (c *Template) Source() string {
	if c.main != "" {
		return c.main
	}
	return c.source
}

// Named returns the special tokens that tokenizer_config.json names, such as bos_token.
func (t *Tokenizer) Named() map[string]string { return maps.Clone(t.chat.special) }

// ParseTemplate parses a chat template for this tokenizer: bos_token and the other tokens of tokenizer_config.json are
// set.
func (t *Tokenizer) ParseTemplate(text string) (*Template, error) {
	c, err := ParseTemplate(text)
	if err != nil {
		return nil, err
	}
	t.setTokens(c)
	return c, nil
}

func (t *Tokenizer) setTokens(c *Template) {
	for name, token := range t.chat.special {
		c.special[name] = token
	}
}

// ErrNoTemplate is Chat's error for a model without a chat template, such as a base model.
var ErrNoTemplate = errors.New("the tokenizer comes without a chat template: give one with --chat-template FILE")

// Chat returns the model's own chat template, or templates: chat_template.jinja and
// additional_chat_templates/NAME.jinja beside the tokenizer, or chat_template in tokenizer_config.json. If there are
// several, conversations with tools use tool_use and others use default. The only error is ErrNoTemplate. A template
// that cannot be parsed gives an error when it is used; Err returns it earlier.
func (t *Tokenizer) Chat() (*Template, error) {
	main, ok := t.chat.named[defaultTemplate]
	if t.chat.bad == nil && (len(t.chat.named) == 0 || ok && main == "" && len(t.chat.named) == 1) {
		return nil, ErrNoTemplate
	}
	c := newTemplate()
	for name, text := range t.chat.named {
		c.parse(name, text)
	}
	if t.chat.bad != nil {
		c.broken[defaultTemplate] = fmt.Errorf("%w: "+otherTemplate, t.chat.bad)
	}
	t.setTokens(c)
	return c, nil
}

// Err is the error that the template gives for conversations without tools; nil if it works or if c is nil.
func (c *Template) Err() error {
	if c == nil {
		return nil
	}
	_, err := c.pick(false)
	return err
}

// pick chooses the template of a conversation.
func (c *Template) pick(tools bool) (*jinja.Template, error) {
	name := defaultTemplate
	if tools && (c.named[toolTemplate] != nil || c.broken[toolTemplate] != nil) {
		name = toolTemplate
	}
	if err := c.broken[name]; err != nil {
		return nil, err
	}
	if t := c.named[name]; t != nil {
		return t, nil
	}
	names := slices.Sorted(maps.Keys(c.named))
	return nil, fmt.Errorf("choosing a chat template: the model has the templates %q and none is named %q: "+
		"give one with --chat-template FILE", names, name)
}

// Render returns the text of a conversation. If the template refuses the conversation, the error has its reason.
// EncodeChat returns token ids instead.
func (c *Template) Render(in ChatInput) (string, error) {
	m, err := c.RenderMarked(in)
	return m.Text, err
}

// Marked is the rendered text of a conversation. A mark on each byte says whether it comes from the conversation
// (messages, tools, variables) or from the template.
type Marked struct {
	Text string
	said string // for each byte of Text 1 if it comes from the conversation, else 0; "" if none does
}

// Slice is the part [i, j) of the text, in bytes.
func (m Marked) Slice(i, j int) Marked {
	if m.said == "" {
		return Marked{Text: m.Text[i:j]}
	}
	return Marked{m.Text[i:j], m.said[i:j]}
}

// Trust is m with bytes [i, j) marked as written by the template, so that special tokens in text that a model is
// trained to write are encoded as such.
func (m Marked) Trust(i, j int) Marked {
	if m.said != "" {
		m.said = m.said[:i] + strings.Repeat("\x00", j-i) + m.said[j:]
	}
	return m
}

// EncodeMarked returns the ids of a rendered conversation. The string of a special token is encoded as that token if
// the template wrote any part of it; if all of it comes from the conversation, it is encoded as text. Pre-tokenization
// and merges do not stop at borders between template and messages.
func (t *Tokenizer) EncodeMarked(m Marked) []int32 {
	st := t.acquire()
	defer t.release(st)
	st.text = pad(st.text, m.Text)
	return t.encode(st, make([]int32, 0, len(m.Text)/3+8), st.text, true, m.said)
}

// EncodeChat returns the ids of a conversation: rendered by the template and encoded by EncodeMarked or, without a
// template (a base model), the joined contents of the messages. The string of a special token inside a message is
// encoded as text.
func (t *Tokenizer) EncodeChat(c *Template, in ChatInput) (ids []int32, err error) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case *PatternError:
			ids, err = nil, p
		default:
			panic(p)
		}
	}()
	if c != nil {
		m, err := c.RenderMarked(in)
		if err != nil {
			return nil, err
		}
		return t.EncodeMarked(m), nil
	}
	for i, m := range in.Messages {
		text, err := m.text()
		if err != nil {
			return nil, fmt.Errorf("reading message %d: %w", i+1, err)
		}
		if text != "" {
			ids = append(ids, t.Encode(text, EncodeOptions{AddSpecial: len(ids) == 0})...)
		}
	}
	return ids, nil
}

// RenderMarked is Render with marks on the bytes that come from the conversation.
func (c *Template) RenderMarked(in ChatInput) (Marked, error) {
	vars := map[string]jinja.Value{"add_generation_prompt": in.AddGenerationPrompt, "tools": nil, "documents": nil}
	for name, token := range c.special {
		vars[name] = token
	}
	messages := &jinja.List{}
	for i, m := range in.Messages {
		v, err := m.value()
		if err != nil {
			return Marked{}, fmt.Errorf("rendering message %d: %w", i+1, err)
		}
		messages.Items = append(messages.Items, v)
	}
	var final string
	if in.ContinueFinalMessage {
		var err error
		if final, err = leaveOpen(messages); err != nil {
			return Marked{}, fmt.Errorf("rendering chat template: %w", err)
		}
	}
	vars["messages"] = jinja.Taint(messages)
	template, err := c.pick(in.Tools != nil)
	if err != nil {
		return Marked{}, err
	}
	if in.Tools != nil {
		tools := &jinja.List{}
		for i, t := range in.Tools {
			v, err := jinja.FromJSON(t)
			if err != nil {
				return Marked{}, fmt.Errorf("rendering tool %d: %w", i+1, err)
			}
			tools.Items = append(tools.Items, v)
		}
		vars["tools"] = jinja.Taint(tools)
	}
	for name, v := range in.Vars {
		value, err := jinja.FromGo(v)
		if err != nil {
			return Marked{}, fmt.Errorf("rendering chat template: variable %s: %w", name, err)
		}
		if !strings.HasSuffix(name, "_token") { // bos_token and similar variables are special tokens
			value = jinja.Taint(value)
		}
		vars[name] = value
	}
	now := time.Now
	if !in.Now.IsZero() {
		now = func() time.Time { return in.Now }
	}
	text, err := template.Render(vars, now)
	if err != nil {
		return Marked{}, fmt.Errorf("rendering chat template: %w", err)
	}
	m := Marked{text.String(), text.Mask()}
	if in.ContinueFinalMessage {
		return cutOpen(m, final)
	}
	return m, nil
}
