package serve

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/zerosearch-go/zerosearch/tokenizer"
)

// tools are the functions that a conversation may call, and how the model writes a call.
type tools struct {
	list   []json.RawMessage // as the template gets them
	names  []string
	choice string // "" (auto), none, required, or the name of a function
	named  bool   // choice is a name
	single bool   // at most one call
	format *callFormat
}

// maxTools is the largest number of functions in a request, as in OpenAI's API.
const maxTools = 128

// readTools reads the functions of a request.
func readTools(q *query, v value) error {
	all, ok := elements(v.raw)
	if !ok {
		return v.wrong("a list of tools")
	}
	if len(all) > maxTools {
		return bad(v.name, "there are %d tools: send at most %d", len(all), maxTools)
	}
	for i, raw := range all {
		param := fmt.Sprintf("%s[%d]", v.name, i)
		of, ok := members(raw)
		if !ok {
			return value{param, raw}.wrong("an object")
		}
		tool := fields(of)
		if kind, _ := unquote(tool.get("type")); kind != "function" {
			e := bad(param+".type", "%s.type must be \"function\"", param)
			e.Code = "unsupported_value"
			return e
		}
		function, ok := members(tool.get("function"))
		f := fields(function)
		name, named := unquote(f.get("name"))
		if !ok || !named || name == "" {
			return bad(param+".function.name", "%s has no function with a name", param)
		}
		if p := f.get("parameters"); p != nil && string(p) != "null" && kind(p) != "object" {
			return value{param + ".function.parameters", p}.wrong("a JSON schema, an object")
		}
		q.tools.names = append(q.tools.names, name)
		q.tools.list = append(q.tools.list, raw)
	}
	return nil
}

// readToolChoice reads which function is to be called.
func readToolChoice(q *query, v value) error {
	if word, ok := unquote(v.raw); ok {
		switch word {
		case "auto":
			return nil
		case "none", "required":
			q.tools.choice = word
			return nil
		}
		return bad(v.name, "tool_choice is %s: it must be none, auto, required or "+
			`{"type": "function", "function": {"name": NAME}}`, v.shown())
	}
	of, ok := members(v.raw)
	if !ok {
		return v.wrong("none, auto, required or a function")
	}
	function, ok := members(fields(of).get("function"))
	name, named := unquote(fields(function).get("name"))
	if kind, _ := unquote(fields(of).get("type")); kind != "function" || !ok || !named {
		return bad(v.name, `tool_choice must be none, auto, required or {"type": "function", "function": {"name": NAME}}`)
	}
	q.tools.choice, q.tools.named = name, true
	return nil
}

// check refuses a choice that cannot be made.
func (t *tools) check() error {
	forced := t.named || t.choice == "required"
	switch {
	case forced && len(t.list) == 0:
		return bad("tool_choice", "tool_choice needs tools")
	case t.named && !slices.Contains(t.names, t.choice):
		return bad("tool_choice", "tool_choice names the function %q, which is not among the tools", t.choice)
	}
	if t.choice == "required" && len(t.names) == 1 { // there is no other
		t.choice, t.named = t.names[0], true
	}
	t.single = t.single || t.named
	return nil
}

// on reports whether the model is told of the functions.
func (t *tools) on() bool { return len(t.list) > 0 && t.choice != "none" }

// prefix is what a forced call begins with; "" if the model may choose.
func (t *tools) prefix() string {
	switch {
	case !t.on():
		return ""
	case t.named:
		name, _ := json.Marshal(t.choice)
		return t.format.open + `{"name": ` + string(name) + `, "` + t.format.arguments + `":`
	case t.choice == "required":
		return t.format.open + `{"name": "`
	}
	return ""
}

// callFormat is how a family of models writes calls: JSON objects with name and arguments.
type callFormat struct {
	open      string // before a call
	arguments string // the key of the arguments
}

var (
	// hermes is the format of Hermes 2 Pro, which Qwen2.5 and Qwen3 share.
	hermes = &callFormat{"<tool_call>\n", "arguments"}
	// llama is the format of Llama 3.1 to 3.3: the message is the call, after <|python_tag|> or without it; several
	// are separated by semicolons.
	llama = &callFormat{"", "parameters"}
)

// formatOf is the format of a model's calls, from its template.
func formatOf(t *tokenizer.Template) *callFormat {
	switch {
	case t == nil || !t.Mentions("tools") || t.Mentions("<function="):
		return nil
	case t.Mentions("<tool_call>"):
		return hermes
	case t.Mentions("<|python_tag|>"), t.Mentions("ipython"):
		return llama
	}
	return nil
}

// needFormat sets the format of calls where the request has tools.
func (c *call) needFormat() error {
	if !c.tools.on() {
		return nil
	}
	if c.tools.format = formatOf(c.model.Template); c.tools.format == nil {
		e := bad("tools", "model %s cannot call tools: its chat template has none, or writes calls in a form that is "+
			"not known here (known are those of Hermes and Qwen, and of Llama 3)", c.model.ID)
		e.Code = "unsupported_parameter"
		return e
	}
	if c.continueFinal && c.tools.prefix() != "" {
		return bad("tool_choice", "continue_final_message continues a message and tool_choice forces a new one: set "+
			"only one of them")
	}
	return nil
}

// stopsAfterCall is stop, which may be nil, that also ends an answer after its first call, if there may be only one.
func (c *call) stopsAfterCall(stop func(ids []int32) bool) func(ids []int32) bool {
	if !c.tools.on() || !c.tools.single {
		return stop
	}
	p := newCallParser(&c.tools)
	p.feed(c.tools.prefix())
	dec := c.model.Tokenizer.NewDecoder(true)
	return func(ids []int32) bool {
		_, calls := p.feed(dec.Add(ids[len(ids)-1]))
		return len(calls) > 0 || stop != nil && stop(ids)
	}
}
