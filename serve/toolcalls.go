package serve

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"strings"
	"unicode"
)

// callParser splits the text of an answer into content and calls while it is generated. Text that looks like a call and
// is none, such as broken JSON, is content.
type callParser struct {
	t       *tools
	pending string // not given yet
	inside  bool   // pending begins with an open tag, or in Llama's format with a call
	plain   bool   // Llama's format: the answer is no call
	given   bool   // content was given
	calls   int
}

func newCallParser(t *tools) *callParser { return &callParser{t: t} }

// feed takes the next part of the text and returns what is certain.
func (p *callParser) feed(text string) (content string, calls []ToolCall) {
	if !p.t.on() {
		return text, nil
	}
	p.pending += text
	if p.t.format == llama {
		return p.llama(false)
	}
	return p.hermes(false)
}

// end returns the rest.
func (p *callParser) end() (content string, calls []ToolCall) {
	if !p.t.on() {
		return "", nil
	}
	if p.t.format == llama {
		return p.llama(true)
	}
	return p.hermes(true)
}

const (
	openCall  = "<tool_call>"
	closeCall = "</tool_call>"
	pythonTag = "<|python_tag|>"
)

// hermes reads calls between tags. White space around calls is left out.
func (p *callParser) hermes(final bool) (content string, calls []ToolCall) {
	for {
		if !p.inside {
			at := strings.Index(p.pending, openCall)
			if at < 0 {
				keep := len(p.pending)
				if !final {
					keep -= partialStop(p.pending, []string{openCall})
				}
				text := strings.TrimRightFunc(p.pending[:keep], unicode.IsSpace)
				if final && p.calls == 0 {
					text = p.pending
				}
				content += p.text(text)
				if p.pending = p.pending[len(text):]; final {
					p.pending = ""
				}
				return content, calls
			}
			content += p.text(strings.TrimRightFunc(p.pending[:at], unicode.IsSpace))
			p.pending, p.inside = p.pending[at:], true
		}
		body := p.pending[len(openCall):]
		inner, rest, closed := strings.Cut(body, closeCall)
		if !closed && !final {
			return content, calls
		}
		if call, ok := p.t.parse(inner); ok {
			calls = p.add(calls, call)
		} else {
			text := p.pending[:len(p.pending)-len(rest)]
			content += p.text(text)
		}
		p.pending, p.inside = rest, false
		if !closed {
			return content, calls
		}
	}
}

// text is content as it is given: without white space before it after a call.
func (p *callParser) text(s string) string {
	if p.calls > 0 && !p.given || s == "" {
		s = strings.TrimLeftFunc(s, unicode.IsSpace)
	}
	p.given = p.given || s != ""
	return s
}

// llama reads an answer that is one call, or several with semicolons between them.
func (p *callParser) llama(final bool) (content string, calls []ToolCall) {
	if p.plain {
		content, p.pending = p.pending, ""
		return content, nil
	}
	text := strings.TrimLeftFunc(p.pending, unicode.IsSpace)
	if strings.HasPrefix(pythonTag, text) && text != pythonTag && !final {
		return "", nil // it may become a call
	}
	text = strings.TrimPrefix(text, pythonTag)
	if p.calls > 0 {
		text = strings.TrimLeft(text, "; \r\n\t")
	}
	if text != "" && text[0] != '{' {
		if p.calls > 0 && !final {
			return "", nil
		}
		p.plain = true
		content, p.pending = p.pending, ""
		return content, nil
	}
	for strings.HasPrefix(text, "{") {
		d := json.NewDecoder(strings.NewReader(text))
		var raw json.RawMessage
		if d.Decode(&raw) != nil {
			break // not complete, or broken
		}
		call, ok := p.t.parse(string(raw))
		if !ok {
			p.plain = true
			content, p.pending = p.pending, ""
			return content, calls
		}
		calls = p.add(calls, call)
		text = strings.TrimLeft(text[d.InputOffset():], "; \r\n\t")
		p.pending = text
	}
	if final {
		content, p.pending = p.pending, ""
		if strings.TrimSpace(content) == "" {
			content = ""
		}
	}
	return content, calls
}

// add adds a call unless there may be only one.
func (p *callParser) add(calls []ToolCall, c ToolCall) []ToolCall {
	if p.t.single && p.calls > 0 {
		return calls
	}
	p.calls++
	return append(calls, c)
}

// parse reads the JSON of a call. Arguments are taken as the model wrote them, or out of a string that holds them.
func (t *tools) parse(text string) (ToolCall, bool) {
	all, ok := members(json.RawMessage(strings.TrimSpace(text)))
	if !ok || !json.Valid([]byte(text)) {
		return ToolCall{}, false
	}
	f := fields(all)
	name, ok := unquote(f.get("name"))
	arguments := f.get(t.format.arguments)
	if other := f.get("arguments"); arguments == nil {
		arguments = other
	}
	if s, quoted := unquote(arguments); quoted && json.Valid([]byte(s)) {
		arguments = json.RawMessage(s)
	}
	if arguments == nil {
		arguments = json.RawMessage("{}")
	}
	if !ok || name == "" || kind(bytes.TrimSpace(arguments)) != "object" {
		return ToolCall{}, false
	}
	return ToolCall{ID: "call_" + hex.EncodeToString(random(12)), Type: "function",
		Function: ToolFunction{Name: name, Arguments: string(arguments)}}, true
}
