package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/zerosearch-go/zerosearch/internal/pyjson"
	"github.com/zerosearch-go/zerosearch/tokenizer/internal/jinja"
)

// Message is one message of a conversation. A Message read from JSON keeps all keys, also unknown ones, and their
// order.
type Message struct {
	Role             string
	Content          string
	ReasoningContent string
	Name             string
	ToolCalls        []ToolCall
	ToolCallID       string

	raw  json.RawMessage // the JSON that was read; the template gets it as long as the fields are unchanged
	read string
}

// fields is a string of the fields, to detect changes.
func (m *Message) fields() string {
	return fmt.Sprintf("%q %q %q %q %q %q", m.Role, m.Content, m.ReasoningContent, m.Name, m.ToolCallID, m.ToolCalls)
}

// ToolCall is a tool call of an assistant's message.
type ToolCall struct {
	ID        string
	Name      string
	Arguments json.RawMessage // a JSON object; the order of keys is kept
}

// UnmarshalJSON reads a message in the form of OpenAI's API and of Hugging Face's templates. Content that is not a
// string (null, a list of parts) is passed to the template as it is.
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
	if err := pyjson.Unmarshal(b, &w); err != nil {
		return fmt.Errorf("reading a message: %w", err)
	}
	*m = Message{Role: w.Role, raw: append(json.RawMessage(nil), b...)}
	if len(w.Content) > 0 && w.Content[0] == '"' {
		if err := pyjson.Unmarshal(w.Content, &m.Content); err != nil {
			return fmt.Errorf("reading a message: %w", err)
		}
	}
	for from, to := range map[*string]*string{w.ReasoningContent: &m.ReasoningContent, w.Name: &m.Name,
		w.ToolCallID: &m.ToolCallID} {
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

// MarshalJSON writes the JSON that was read. If the message was not read from JSON, or was changed, it writes the
// fields.
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

// text is the content. Parts of type text are joined by line breaks, as in serve and vLLM.
func (m *Message) text() (string, error) {
	var w struct{ Content json.RawMessage }
	if m.Content != "" || m.raw == nil || m.read != m.fields() || json.Unmarshal(m.raw, &w) != nil ||
		len(w.Content) == 0 || w.Content[0] != '[' {
		return m.Content, nil
	}
	return JoinParts(w.Content)
}

// JoinParts joins a content of parts into one string, and replaces null (the content of tool calls in OpenAI's API) by
// an empty string: most templates expect a string. Other keys of the message are kept.
func (m *Message) JoinParts() error {
	var all map[string]json.RawMessage
	if m.raw == nil || m.read != m.fields() || json.Unmarshal(m.raw, &all) != nil {
		return nil // the content is a string already
	}
	switch content := all["content"]; {
	case len(content) == 0 || content[0] == '"':
		return nil
	case string(content) == "null":
	case content[0] != '[':
		return errors.New("its content is neither text nor a list of parts")
	}
	text, err := m.text()
	if err != nil {
		return err
	}
	if all["content"], err = json.Marshal(text); err != nil {
		return err
	}
	if m.raw, err = json.Marshal(all); err != nil {
		return err
	}
	m.Content = text
	m.read = m.fields()
	return nil
}

// value is the message as a value for templates. Keys whose value is null are left out, as Hugging Face's libraries do.
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
