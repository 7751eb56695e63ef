package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/zerosearch-go/zerosearch/internal/pyjson"
)

// PartError says what is wrong with one part of a message's content.
type PartError struct {
	Part        int    // its place in the list, from 0
	Unsupported bool   // it is a part of another type than text
	Why         string // "it has no text"
}

// Error names the part.
func (e *PartError) Error() string {
	if e.Unsupported {
		return e.Why
	}
	return fmt.Sprintf("part %d of its content: %s", e.Part, e.Why)
}

// JoinParts makes one text of raw, a list of content parts as OpenAI's API has them: the texts of parts of type text
// and refusal, joined by line breaks as vLLM does. A part may also be a string. Errors about a part are of type
// *PartError.
func JoinParts(raw json.RawMessage) (string, error) {
	var parts []json.RawMessage
	if err := pyjson.Unmarshal(raw, &parts); err != nil {
		return "", errors.New("its content is neither text nor a list of parts")
	}
	texts := make([]string, len(parts))
	for i, p := range parts {
		text, err := partText(p)
		if err != nil {
			err.Part = i
			return "", err
		}
		texts[i] = text
	}
	return strings.Join(texts, "\n"), nil
}

// partText is the text of one part.
func partText(raw json.RawMessage) (string, *PartError) {
	text := func(raw json.RawMessage) (s string, ok bool) {
		return s, len(raw) > 0 && raw[0] == '"' && json.Unmarshal(raw, &s) == nil
	}
	if s, ok := text(raw); ok {
		return s, nil
	}
	var part map[string]json.RawMessage
	if json.Unmarshal(raw, &part) != nil || part == nil {
		return "", &PartError{Why: "it is neither a string nor an object with a type"}
	}
	kind := "text"
	if t, given := part["type"]; given {
		var ok bool
		if kind, ok = text(t); !ok {
			return "", &PartError{Why: "its type is not a string"}
		}
	}
	if kind != "text" && kind != "refusal" {
		return "",
			&PartError{Unsupported: true, Why: fmt.Sprintf("content of type %q is not supported: only text is", kind)}
	}
	s, ok := text(part[kind])
	if !ok {
		return "", &PartError{Why: "it has no " + kind}
	}
	return s, nil
}
