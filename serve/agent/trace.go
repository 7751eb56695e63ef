package agent

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/zerosearch-go/zerosearch/rl/assistant"
	"github.com/zerosearch-go/zerosearch/rl/eval"
	"github.com/zerosearch-go/zerosearch/serve"
)

// trace tells the client what the assistant does, as steps.
type trace struct {
	assistant.Trace
	assistant *assistant.Assistant
	tell      func(serve.AgentStep) error
	failed    error // of tell

	searches []search // of the present method
	found    []string // by them, in order: the id of a document is its place, from 1
}

// search is a search of the trace.
type search struct {
	call      serve.ToolCall
	documents []serve.Document
}

func newTrace(a *assistant.Assistant, o options, tell func(serve.AgentStep) error) *trace {
	t := &trace{assistant: a, tell: tell}
	t.Style, t.Whole = o.style, o.method == assistant.Auto
	t.Thought = func(text string) { t.step(serve.AgentStep{Thought: text}) }
	t.Answer = func(text string) { t.step(serve.AgentStep{Content: text}) }
	t.Begin = func(m eval.Method, _ bool) {
		t.searches, t.found = nil, nil
		t.step(serve.AgentStep{Method: string(m)})
	}
	t.Searching = t.searching
	t.Searched = t.searched
	return t
}

func (t *trace) step(s serve.AgentStep) {
	if t.failed == nil {
		t.failed = t.tell(s)
	}
}

func (t *trace) searching(_ int, query string) {
	arguments, _ := json.Marshal(map[string]string{"query": query}) // never fails for strings
	t.searches = append(t.searches, search{call: serve.ToolCall{ID: callID(), Type: "function",
		Function: serve.ToolFunction{Name: "search", Arguments: string(arguments)}}})
	t.step(serve.AgentStep{Call: &t.searches[len(t.searches)-1].call})
}

func (t *trace) searched(_ int, _ string, documents []string) {
	s := &t.searches[len(t.searches)-1]
	s.documents = []serve.Document{}
	for _, d := range documents {
		id := slices.Index(t.found, d) + 1
		if id == 0 {
			t.found = append(t.found, d)
			id = len(t.found)
		}
		s.documents = append(s.documents, t.document(id, d))
	}
	t.step(serve.AgentStep{Documents: &serve.Documents{CallID: s.call.ID, Documents: s.documents}})
}

// document describes a document of the search engine. A title stands in quotes before the text.
func (t *trace) document(id int, text string) serve.Document {
	d := serve.Document{ID: id, Passage: text}
	if s, ok := t.assistant.Place(text); ok {
		d.Source, d.Number = s.File, s.Passage
	}
	if rest, ok := strings.CutPrefix(text, `"`); ok {
		if title, passage, ok := strings.Cut(rest, `" `); ok {
			d.Title, d.Passage = title, passage
		}
	}
	return d
}

// answer is the whole trace, with the documents that the answer cites marked.
func (t *trace) answer(out assistant.Answer) serve.AgentAnswer {
	a := serve.AgentAnswer{Method: string(out.Method), Turns: []serve.AgentTurn{}, Supported: out.Grounded,
		Status: out.Status, Unsupported: out.Unsupported}
	searches := t.searches
	for _, turn := range out.Turns {
		x := serve.AgentTurn{Thought: turn.Think, Documents: []serve.Document{}}
		switch {
		case turn.Search != nil && len(searches) == 0:
			continue // what a longer text is written from was found before
		case turn.Search != nil:
			x.Call, x.Documents = &searches[0].call, slices.Clone(searches[0].documents)
			searches = searches[1:]
		case turn.Think == "":
			continue
		}
		for i, d := range x.Documents {
			x.Documents[i].Cited = slices.ContainsFunc(out.Citations, func(c assistant.Citation) bool {
				return c.Text == t.found[d.ID-1]
			})
		}
		a.Turns = append(a.Turns, x)
	}
	return a
}

// callID is the id of a tool call.
func callID() string { return fmt.Sprintf("call_%016x", rand.Uint64()) }
