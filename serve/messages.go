package serve

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/zerosearch-go/zerosearch/tokenizer"
)

// readMessages converts the messages of OpenAI's API to the form that chat templates expect: contents are strings,
// members that are null are left out, arguments of tool calls are objects.
func readMessages(raw json.RawMessage, tmpl *tokenizer.Template) ([]tokenizer.Message, error) {
	all, ok := elements(raw)
	if len(raw) > 0 && !ok {
		return nil, value{"messages", raw}.wrong("a list of messages")
	}
	if len(all) == 0 || len(all) > maxMessages {
		return nil, bad("messages", "there are %d messages: send between 1 and %d", len(all), maxMessages)
	}
	out := make([]tokenizer.Message, len(all))
	for i, r := range all {
		param := fmt.Sprintf("messages[%d]", i)
		m, err := readMessage(param, r)
		if err != nil {
			return nil, err
		}
		// Templates that do not know the role developer get its older name, system.
		if role := m.get("role"); string(role) == `"developer"` && tmpl != nil && !tmpl.Mentions("developer") {
			m.set("role", json.RawMessage(`"system"`))
		}
		if err := json.Unmarshal(toObject(*m), &out[i]); err != nil {
			return nil, bad(param, "%s: %v", param, err)
		}
	}
	return out, nil
}

// fields are the members of a message, in order.
type fields []member

func (f fields) get(key string) json.RawMessage {
	for _, m := range f {
		if m.key == key {
			return m.raw
		}
	}
	return nil
}

func (f *fields) set(key string, raw json.RawMessage) {
	for i := range *f {
		if (*f)[i].key == key {
			(*f)[i].raw = raw
			return
		}
	}
	*f = append(*f, member{key, raw})
}

func (f *fields) drop(key string) {
	for i := range *f {
		if (*f)[i].key == key {
			*f = append((*f)[:i:i], (*f)[i+1:]...)
			return
		}
	}
}

// readMessage reads one message and keeps the order of its members.
func readMessage(param string, raw json.RawMessage) (*fields, error) {
	all, ok := members(raw)
	if !ok {
		return nil, value{param, raw}.wrong("a message")
	}
	f, content := &fields{}, json.RawMessage(nil)
	for _, m := range all {
		if m.key == "content" {
			content = m.raw
		}
		if m.key == "content" || string(m.raw) != "null" { // the content keeps its place
			*f = append(*f, m)
		}
	}
	role, ok := unquote(f.get("role"))
	switch {
	case f.get("role") == nil:
		return nil, bad(param+".role", "%s has no role", param)
	case !ok || role == "":
		return nil, value{param + ".role", f.get("role")}.wrong("the name of a role")
	}
	for _, key := range []string{"name", "tool_call_id", "reasoning", "reasoning_content", "refusal"} {
		if x := f.get(key); x != nil && kind(x) != "string" {
			return nil, value{param + "." + key, x}.wrong("a string")
		}
	}
	for _, key := range []string{"audio", "function_call"} {
		if f.get(key) != nil {
			return nil, (&parameter{name: param + "." + key, noEffect: anything, say: "null"}).unsupported()
		}
	}
	if err := f.readToolCalls(param); err != nil {
		return nil, err
	}
	if err := f.readContent(param, content); err != nil {
		return nil, err
	}
	// vLLM's clients send reasoning, templates read reasoning_content
	if x := f.get("reasoning"); x != nil && f.get("reasoning_content") == nil {
		f.set("reasoning_content", x)
	}
	return f, nil
}

// readContent joins the content into one string. An assistant's content may be missing, as in tool calls: it is then
// empty.
func (f *fields) readContent(param string, given json.RawMessage) error {
	role, _ := unquote(f.get("role"))
	text := ""
	switch kind(given) {
	case "nothing":
		if role != "assistant" {
			e := bad(param+".content", "%s has no content", param)
			e.Code = "missing_required_parameter"
			return e
		}
	case "null":
	case "string":
		text, _ = unquote(given)
	case "list":
		var err error
		if text, err = tokenizer.JoinParts(given); err != nil {
			return partError(param+".content", err)
		}
	default:
		return value{param + ".content", given}.wrong("a string or a list of parts")
	}
	if refusal, ok := unquote(f.get("refusal")); ok && text == "" {
		text = refusal
	}
	f.drop("refusal")
	written, err := json.Marshal(text)
	f.set("content", written)
	return err
}

// partError is the answer to a content part that cannot be read.
func partError(param string, err error) error {
	var p *tokenizer.PartError
	if !errors.As(err, &p) {
		return bad(param, "%s: %v", param, err)
	}
	param = fmt.Sprintf("%s[%d]", param, p.Part)
	e := bad(param, "%s: %s", param, p.Why)
	if p.Unsupported {
		e.Code = "unsupported_value"
	}
	return e
}

// readToolCalls parses the arguments of tool calls, which are JSON strings in OpenAI's API, into objects. An empty list
// of calls is removed.
func (f *fields) readToolCalls(param string) error {
	raw := f.get("tool_calls")
	if raw == nil {
		return nil
	}
	calls, ok := elements(raw)
	if !ok {
		return value{param + ".tool_calls", raw}.wrong("a list of calls")
	}
	if len(calls) == 0 {
		f.drop("tool_calls")
		return nil
	}
	for i, c := range calls {
		param := fmt.Sprintf("%s.tool_calls[%d].function", param, i)
		all, ok := members(c)
		call := fields(all)
		function, isFunction := members(call.get("function"))
		if !ok || !isFunction {
			return bad(param, "%s is missing: a call is an object with a function", param)
		}
		called := fields(function)
		if _, ok := unquote(called.get("name")); !ok {
			return bad(param+".name", "%s has no name", param)
		}
		arguments := called.get("arguments")
		if s, ok := unquote(arguments); ok {
			arguments = json.RawMessage(s)
		}
		if len(strings.TrimSpace(string(arguments))) == 0 || string(arguments) == "null" {
			arguments = json.RawMessage("{}")
		}
		if _, ok := members(arguments); !ok || !json.Valid(arguments) {
			return bad(param+".arguments", "%s.arguments is not a JSON object, nor a string that holds one", param)
		}
		called.set("arguments", arguments)
		call.set("function", toObject(called))
		calls[i] = toObject(call)
	}
	list, err := json.Marshal(calls)
	f.set("tool_calls", list)
	return err
}
