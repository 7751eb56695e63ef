package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"strings"
	"time"

	"github.com/zerosearch-go/zerosearch/tokenizer/internal/jinja"
)

// A Template renders conversations as the text that a chat model was trained on. It is safe for concurrent use.
type Template struct {
	main    *jinja.Template
	tools   *jinja.Template // for conversations with tools, where a model has a template of its own for them; nil: main
	special map[string]jinja.Value
	source  string // of main
}

// ChatInput is what a template is given.
type ChatInput struct {
	Messages            []Message
	Tools               []json.RawMessage // function descriptions; the order of keys is kept
	AddGenerationPrompt bool              // end with the opening of the assistant's turn
	Vars                map[string]any    // more variables: enable_thinking, date_string ... as encoding/json writes them
	Now                 time.Time         // the date that some templates print; zero: the clock
}

// Message is one turn. A Message read from JSON keeps every key, known here or not, and the order of keys.
type Message struct {
	Role             string
	Content          string
	ReasoningContent string
	Name             string
	ToolCalls        []ToolCall
	ToolCallID       string

	raw  json.RawMessage // as read: what the template sees while the fields are as read, too
	read string
}

// fields is the text of the fields, to notice a change.
func (m *Message) fields() string {
	return fmt.Sprintf("%q %q %q %q %q %q", m.Role, m.Content, m.ReasoningContent, m.Name, m.ToolCallID, m.ToolCalls)
}

// ToolCall is a call that an assistant's message makes.
type ToolCall struct {
	ID        string
	Name      string
	Arguments json.RawMessage // a JSON object; the order of keys is kept
}

// UnmarshalJSON reads a message in the form of OpenAI's API and of Hugging Face's templates. Content that is no string (null, a list of
// parts) is left to the template.
func (m *Message) UnmarshalJSON(b []byte) error {
	var w struct {
		Role             string          `json:"role"`
		Content          json.RawMessage `json:"content"`
		ReasoningContent *string         `json:"reasoning_content"`
		Name             *string         `json:"name"`
		ToolCallID       *string         `json:"tool_call_id"`
		ToolCalls        []struct {
			ID       string
			Function struct {
				Name      string
				Arguments json.RawMessage
			}
		} `json:"tool_calls"`
	}
	if err := json.Unmarshal(b, &w); err != nil {
		return fmt.Errorf("reading a message: %w", err)
	}
	*m = Message{Role: w.Role, raw: append(json.RawMessage(nil), b...)}
	if len(w.Content) > 0 && w.Content[0] == '"' {
		if err := json.Unmarshal(w.Content, &m.Content); err != nil {
			return fmt.Errorf("reading a message: %w", err)
		}
	}
	for from, to := range map[*string]*string{w.ReasoningContent: &m.ReasoningContent, w.Name: &m.Name, w.ToolCallID: &m.ToolCallID} {
		if from != nil {
			*to = *from
		}
	}
	for _, c := range w.ToolCalls {
		m.ToolCalls = append(m.ToolCalls, ToolCall{c.ID, c.Function.Name, c.Function.Arguments})
	}
	m.read = m.fields()
	return nil
}

// MarshalJSON writes what was read; the fields that are set where the message was not read or has been changed since.
func (m Message) MarshalJSON() ([]byte, error) {
	if m.raw != nil && m.read == m.fields() {
		return m.raw, nil
	}
	type function struct {
		Name      string          `json:"name"`
		Arguments json.RawMessage `json:"arguments"`
	}
	type call struct {
		ID       string   `json:"id,omitempty"`
		Type     string   `json:"type"`
		Function function `json:"function"`
	}
	var calls []call
	for _, c := range m.ToolCalls {
		if len(c.Arguments) == 0 {
			c.Arguments = json.RawMessage("{}")
		}
		calls = append(calls, call{c.ID, "function", function{c.Name, c.Arguments}})
	}
	return json.Marshal(struct {
		Role             string `json:"role"`
		Content          string `json:"content"`
		ReasoningContent string `json:"reasoning_content,omitempty"`
		Name             string `json:"name,omitempty"`
		ToolCalls        []call `json:"tool_calls,omitempty"`
		ToolCallID       string `json:"tool_call_id,omitempty"`
	}{m.Role, m.Content, m.ReasoningContent, m.Name, calls, m.ToolCallID})
}

// ParseTemplate reads a chat template (Jinja). An error names the line and the construct that is not supported. Tokens that the template
// asks for by name (bos_token) are undefined unless Vars has them: Tokenizer.ParseTemplate knows them.
func ParseTemplate(text string) (*Template, error) {
	main, err := jinja.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("reading chat template: %w: another template can be given with --chat-template FILE", err)
	}
	return &Template{main: main, special: map[string]jinja.Value{}, source: text}, nil
}

// With is the template with a variable set, as Hugging Face's libraries set enable_thinking; a ChatInput's own variables go before it. The
// error says that the template does not look at the variable.
func (c *Template) With(name string, v any) (*Template, error) {
	if !strings.Contains(c.source, name) {
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

// ParseTemplate is the function ParseTemplate for a template that is to be used with this tokenizer: it knows bos_token and the others
// of tokenizer_config.json.
func (t *Tokenizer) ParseTemplate(text string) (*Template, error) {
	c, err := ParseTemplate(text)
	if err != nil {
		return nil, err
	}
	for name, token := range t.chat.special {
		c.special[name] = token
	}
	return c, nil
}

// ErrNoTemplate is Chat's error for a model that was never meant to chat.
var ErrNoTemplate = errors.New("the tokenizer comes without a chat template: give one with --chat-template FILE")

// Chat returns the model's own chat template: chat_template.jinja beside the tokenizer, or chat_template in tokenizer_config.json.
func (t *Tokenizer) Chat() (*Template, error) {
	if t.chat.main == "" {
		return nil, ErrNoTemplate
	}
	c, err := t.ParseTemplate(t.chat.main)
	if err != nil || t.chat.tools == "" {
		return c, err
	}
	tools, err := t.ParseTemplate(t.chat.tools)
	if err != nil {
		return nil, err
	}
	c.tools = tools.main
	return c, nil
}

// Render returns the text of a conversation, to be encoded with ParseSpecial and without AddSpecial. Templates refuse some
// conversations; the error then has the template's reason.
func (c *Template) Render(in ChatInput) (string, error) {
	vars := map[string]jinja.Value{"add_generation_prompt": in.AddGenerationPrompt, "tools": nil, "documents": nil}
	for name, token := range c.special {
		vars[name] = token
	}
	messages := &jinja.List{}
	for i, m := range in.Messages {
		v, err := m.value()
		if err != nil {
			return "", fmt.Errorf("rendering message %d: %w", i+1, err)
		}
		messages.Items = append(messages.Items, v)
	}
	vars["messages"] = messages
	template := c.main
	if len(in.Tools) > 0 {
		tools := &jinja.List{}
		for i, t := range in.Tools {
			v, err := jinja.FromJSON(t)
			if err != nil {
				return "", fmt.Errorf("rendering tool %d: %w", i+1, err)
			}
			tools.Items = append(tools.Items, v)
		}
		vars["tools"] = tools
		if c.tools != nil {
			template = c.tools
		}
	}
	for name, v := range in.Vars {
		value, err := jinja.FromGo(v)
		if err != nil {
			return "", fmt.Errorf("rendering chat template: variable %s: %w", name, err)
		}
		vars[name] = value
	}
	now := time.Now
	if !in.Now.IsZero() {
		now = func() time.Time { return in.Now }
	}
	text, err := template.Render(vars, now)
	if err != nil {
		return "", fmt.Errorf("rendering chat template: %w", err)
	}
	return text, nil
}

// value is the message as a template sees it. Keys whose value is null are left out, as Hugging Face's libraries do.
func (m Message) value() (jinja.Value, error) {
	text, err := m.MarshalJSON()
	if err != nil {
		return nil, err
	}
	v, err := jinja.FromJSON(text)
	if err != nil {
		return nil, err
	}
	all, ok := v.(*jinja.Dict)
	if !ok {
		return nil, errors.New("a message is not a JSON object")
	}
	d := &jinja.Dict{}
	for _, key := range all.Keys {
		if x, _ := all.Get(key); x != nil {
			d.Set(key, x)
		}
	}
	return d, nil
}

// chatSource is the text of a model's chat template, and the tokens it may name.
type chatSource struct {
	main, tools string
	special     map[string]jinja.Value
}

// load takes the template of the folder dir.
func (s *chatSource) load(dir string, c *tokenizerConfig) error {
	s.special = map[string]jinja.Value{}
	for name, token := range map[string]tokenName{"bos_token": c.BOS, "eos_token": c.EOS, "pad_token": c.PAD, "unk_token": c.UNK} {
		if token != "" {
			s.special[name] = string(token)
		}
	}
	switch text, err := readFile(filepath.Join(dir, "chat_template.jinja")); {
	case err == nil:
		s.main = string(text)
		return nil
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if len(c.ChatTemplate) == 0 || json.Unmarshal(c.ChatTemplate, &s.main) == nil {
		return nil
	}
	var named []struct{ Name, Template string }
	if err := json.Unmarshal(c.ChatTemplate, &named); err != nil {
		return fmt.Errorf("%s: chat_template: %w", filepath.Join(dir, "tokenizer_config.json"), err)
	}
	for _, n := range named {
		switch n.Name {
		case "default":
			s.main = n.Template
		case "tool_use":
			s.tools = n.Template
		}
	}
	return nil
}
