package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/zerosearch-go/zerosearch/serve"
	"github.com/zerosearch-go/zerosearch/tokenizer"
)

// chat is the part of a request that a chat template renders. Every key of the request that is not a field of it is a
// variable of the template (enable_thinking, date_string ...), and so is every key of "vars"; the order of their own
// keys is kept.
type chat struct {
	Messages   []tokenizer.Message `json:"messages"`
	Tools      []json.RawMessage   `json:"tools"`
	Generation *bool               `json:"add_generation_prompt"` // nil: as the verb has it
	Continue   bool                `json:"continue_final_message"`
	Vars       map[string]any      `json:"-"`
}

// requestFields are keys that are no variables.
var requestFields = map[string]bool{"text": true, "add_special": true, "parse_special": true, "ids": true,
	"skip_special": true, "messages": true,
	"tools": true, "add_generation_prompt": true, "continue_final_message": true, "vars": true}

// readVars takes the variables out of the request b.
func (c *chat) readVars(b []byte) error {
	if c.Messages == nil {
		return nil
	}
	var all, vars map[string]json.RawMessage
	if err := json.Unmarshal(b, &all); err != nil {
		return err
	}
	if v, ok := all["vars"]; ok {
		if err := json.Unmarshal(v, &vars); err != nil {
			return fmt.Errorf("vars: %w", err)
		}
	}
	c.Vars = map[string]any{}
	for k, v := range all {
		if !requestFields[k] {
			c.Vars[k] = v
		}
	}
	for k, v := range vars {
		c.Vars[k] = v
	}
	return nil
}

// input is what the chat template is given. generation says whether an assistant's turn is opened where the request
// does not say.
func (c *chat) input(generation bool) (tokenizer.ChatInput, error) {
	in := tokenizer.ChatInput{Messages: c.Messages, Tools: c.Tools, Vars: c.Vars,
		AddGenerationPrompt: generation && !c.Continue, ContinueFinalMessage: c.Continue}
	if c.Generation != nil {
		if in.AddGenerationPrompt = *c.Generation; *c.Generation && c.Continue {
			return in, fmt.Errorf("continue_final_message goes on with the last message and " +
				"add_generation_prompt opens another: give one of them")
		}
	}
	return in, nil
}

// generateRequest is text, ids or a chat to go on with.
type generateRequest struct {
	chat
	IDs  []int32 `json:"ids"`
	Text *string `json:"text"`
}

// UnmarshalJSON reads the fields above, and the chat's. A parameter of sampling is none: it is the same for all lines.
func (r *generateRequest) UnmarshalJSON(b []byte) error {
	type fields generateRequest // without this method
	if err := json.Unmarshal(b, (*fields)(r)); err != nil {
		return err
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(b, &all); err != nil {
		return err
	}
	for _, key := range slices.Sorted(maps.Keys(all)) {
		if !requestFields[key] && key != "prompt" && serve.IsParameter(key) {
			return fmt.Errorf(
				"a line of generate has no %q: what all lines share is given by flags (see generate --help)", key)
		}
	}
	return r.readVars(b)
}

// encode makes ids of what a request holds.
func (s *served) encode(ids []int32, text *string, c *chat) ([]int32, error) {
	switch {
	case ids != nil:
		return ids, nil
	case text == nil && c.Messages == nil:
		return nil, fmt.Errorf("the request has neither ids nor text nor messages")
	}
	if err := needTokenizer(s); err != nil {
		return nil, err
	}
	tok := s.model.Tokenizer
	if c.Messages == nil {
		return tok.Encode(*text, tokenizer.EncodeOptions{AddSpecial: true, ParseSpecial: true}), nil
	}
	if s.model.Template == nil {
		return nil, fmt.Errorf("the model has no chat template: give --chat-template FILE, or send {\"text\"}")
	}
	in, err := c.input(true)
	if err != nil {
		return nil, err
	}
	return tok.EncodeChat(s.model.Template, in)
}
