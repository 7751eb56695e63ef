package tokenizer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// JoinParts makes one text of a content that comes in parts, as OpenAI's API has them: most templates expect a text. Other keys of a
// message read from JSON are kept. Parts that are no text are an error.
func (m *Message) JoinParts() error {
	var all map[string]json.RawMessage
	if m.raw == nil || m.read != m.fields() || json.Unmarshal(m.raw, &all) != nil {
		return nil // Content is the text
	}
	raw := bytes.TrimSpace(all["content"])
	if len(raw) == 0 || raw[0] == '"' || string(raw) == "null" {
		return nil
	}
	var parts []struct{ Type, Text string }
	if raw[0] != '[' || json.Unmarshal(raw, &parts) != nil {
		return errors.New("its content is neither text nor a list of parts")
	}
	var text strings.Builder
	for _, p := range parts {
		if p.Type != "text" {
			return fmt.Errorf("its content has a part of type %q: only text is supported", p.Type)
		}
		text.WriteString(p.Text)
	}
	m.Content = text.String()
	quoted, err := json.Marshal(m.Content)
	if err != nil {
		return err
	}
	all["content"] = quoted
	if m.raw, err = json.Marshal(all); err != nil {
		return err
	}
	m.read = m.fields()
	return nil
}
