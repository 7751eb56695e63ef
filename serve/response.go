package serve

import (
	"cmp"
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/zerosearch-go/zerosearch/engine"
)

// responseBuilder turns the pieces of a call into its endpoint's response or, when streaming, into chunks.
type responseBuilder struct {
	c       *call
	choices []builtChoice
}

// builtChoice is the part of a choice that has been generated so far.
type builtChoice struct {
	text   string
	tokens []entry
	ids    []int32
	finish string
	stop   any
	result engine.Result
	begun  bool // its first chunk was made
	parser *callParser
	calls  []calledTool
}

func newResponseBuilder(c *call) *responseBuilder {
	f := &responseBuilder{c: c, choices: make([]builtChoice, c.sequences())}
	for i := range f.choices {
		x := &f.choices[i]
		x.parser, x.ids = newCallParser(&c.tools), slices.Clone(c.forced)
		x.parser.feed(c.tools.prefix()) // it holds no complete call
	}
	return f
}

// split takes the calls out of a piece's text and returns the new ones.
func (x *builtChoice) split(p *piece) (fresh []calledTool) {
	content, calls := x.parser.feed(p.text)
	if p.finish != "" {
		rest, more := x.parser.end()
		content, calls = content+rest, append(calls, more...)
	}
	p.text = content
	for _, c := range calls {
		index := len(x.calls) + len(fresh)
		fresh = append(fresh, calledTool{&index, c})
	}
	x.calls = append(x.calls, fresh...)
	if p.finish == "stop" && len(x.calls) > 0 {
		p.finish = "tool_calls"
	}
	return fresh
}

// add appends a piece to its choice.
func (f *responseBuilder) add(p piece) {
	x := &f.choices[p.choice]
	x.split(&p)
	x.text += p.text
	x.tokens = append(x.tokens, p.tokens...)
	x.ids = append(x.ids, p.ids...)
	if p.finish != "" {
		x.finish, x.stop, x.result = p.finish, p.stop, p.result
	}
}

func (f *responseBuilder) answer(object string, choices []choice) answer {
	return answer{ID: f.c.id, Object: object, Created: f.c.created, Model: f.c.model.ID, Choices: choices}
}

// response is the complete response, once all choices have finished.
func (f *responseBuilder) response() answer {
	a := f.answer("text_completion", nil)
	if f.c.chat {
		a.Object = "chat.completion"
	}
	for index, i := range f.best() {
		x := &f.choices[i]
		ch := choice{Index: index, Finish: &x.finish, Stop: x.stop,
			Logprobs: f.logprobs(slices.Concat(f.echoed(i).tokens, x.tokens))}
		if f.c.chat {
			ch.Message = x.message()
		} else {
			text := f.echoed(i).text + x.text
			ch.Text, ch.PromptLogprobs = &text, f.promptLogprobs(i)
		}
		if f.c.returnIDs {
			ch.IDs, ch.PromptIDs = &x.ids, &f.c.prompts[i/f.c.choices]
		}
		a.Choices = append(a.Choices, ch)
	}
	if f.c.chat {
		a.PromptLogprobs = f.promptLogprobs(0)
	}
	a.Usage = f.usage()
	return a
}

// best are the choices to return, n of each prompt: with best_of those whose log-probability a token is highest.
func (f *responseBuilder) best() (all []int) {
	n := int(f.c.n)
	for from := 0; from < len(f.choices); from += f.c.choices {
		of := make([]int, f.c.choices)
		for i := range of {
			of[i] = from + i
		}
		if n < len(of) {
			slices.SortStableFunc(of, func(i, j int) int {
				return cmp.Compare(f.choices[j].likelihood(), f.choices[i].likelihood())
			})
			of = of[:n]
		}
		all = append(all, of...)
	}
	return all
}

// likelihood is the mean log-probability of the tokens.
func (x *builtChoice) likelihood() (mean float64) {
	for _, l := range x.result.Logprobs {
		mean += float64(l) / float64(len(x.result.Logprobs))
	}
	return mean
}

// message is the complete answer of a chat. Its content is null if it only calls functions.
func (x *builtChoice) message() *message {
	m := &message{Role: "assistant", Content: &x.text}
	for _, c := range x.calls {
		m.Calls = append(m.Calls, calledTool{ToolCall: c.ToolCall})
	}
	if len(m.Calls) > 0 && x.text == "" {
		m.Content = nil
	}
	return m
}

// chunks returns the stream's events for a piece.
func (f *responseBuilder) chunks(p piece) []answer {
	x := &f.choices[p.choice]
	calls := x.split(&p)
	var out []answer
	completion := 0
	add := func(ch choice) {
		ch.Index = p.choice
		object := "text_completion"
		if f.c.chat {
			object = "chat.completion.chunk"
		}
		a := f.answer(object, []choice{ch})
		if f.c.usage && f.c.usageInChunks {
			prompt := len(f.c.prompts[p.choice/f.c.choices])
			a.Usage = &usage{Prompt: prompt, Completion: completion, Total: prompt + completion}
		}
		out = append(out, a)
	}
	if !x.begun && f.c.chat {
		add(choice{Delta: &delta{Role: "assistant", Content: new(string)}})
	}
	if !x.begun && f.c.echo {
		e := f.echoed(p.choice)
		add(choice{Text: &e.text, Logprobs: f.logprobs(e.tokens)})
	}
	completion = len(f.c.forced) + p.count
	ids := func() *[]int32 {
		if !f.c.returnIDs {
			return nil
		}
		if !x.begun {
			p.ids = slices.Concat(f.c.forced, p.ids)
		}
		return &p.ids
	}
	if p.text != "" || len(p.tokens) > 0 || len(p.ids) > 0 {
		ch := choice{Logprobs: f.logprobs(p.tokens), IDs: ids()}
		if f.c.chat {
			ch.Delta = &delta{Content: &p.text}
		} else {
			ch.Text = &p.text
		}
		if f.c.returnIDs && !x.begun {
			ch.PromptIDs = &f.c.prompts[p.choice/f.c.choices]
		}
		add(ch)
	}
	x.begun = true
	for _, c := range calls {
		add(choice{Delta: &delta{Calls: []calledTool{c}}})
	}
	if p.finish != "" {
		x.finish, x.stop, x.result = p.finish, p.stop, p.result
		ch := choice{Finish: &x.finish, Stop: x.stop, Delta: &delta{}}
		if !f.c.chat {
			ch.Delta, ch.Text = nil, new(string)
		}
		add(ch)
	}
	return out
}

// usageChunk is the last event of a stream with include_usage.
func (f *responseBuilder) usageChunk() answer {
	a := f.answer("text_completion", []choice{})
	if f.c.chat {
		a.Object = "chat.completion.chunk"
	}
	a.Usage = f.usage()
	return a
}

// usage counts tokens. A prompt counts once, however many choices it has.
func (f *responseBuilder) usage() *usage {
	var u usage
	for i := range f.choices {
		x := &f.choices[i]
		u.Completion += len(f.c.forced) + len(x.result.IDs)
		if i%f.c.choices == 0 {
			u.Prompt += len(f.c.prompts[i/f.c.choices])
			u.Details.Cached += f.cached(i/f.c.choices, x.result)
		}
	}
	u.Total = u.Prompt + u.Completion
	return &u
}

// logprobs is the value of a choice's field logprobs; nil if the request did not ask for it.
func (f *responseBuilder) logprobs(tokens []entry) any {
	if !f.c.logprobs {
		return nil
	}
	if f.c.chat {
		out := &chatLogprobs{Content: []chatLogprob{}}
		for _, e := range tokens {
			l := chatLogprob{tokenLogprob: f.token(e.id, e.logp), Top: []tokenLogprob{}}
			for _, t := range e.top {
				l.Top = append(l.Top, f.token(t.ID, t.Logprob))
			}
			out.Content = append(out.Content, l)
		}
		return out
	}
	out := &textLogprobs{Tokens: []string{}, Values: []float32{}, Offsets: []int{}}
	for _, e := range tokens {
		t := f.token(e.id, e.logp)
		out.Tokens, out.Values, out.Offsets = append(out.Tokens, t.Token), append(out.Values, t.Logprob),
			append(out.Offsets, e.offset)
		if f.c.top > 0 {
			out.Top = append(out.Top, f.likeliest(e, t))
		}
	}
	return out
}

// likeliest is an element of top_logprobs: the most probable tokens and, as in OpenAI's API, the token itself. It is
// nil for the first token of a prompt.
func (f *responseBuilder) likeliest(e entry, itself tokenLogprob) map[string]float32 {
	if e.logp != e.logp {
		return nil
	}
	top := map[string]float32{itself.Token: itself.Logprob}
	for _, t := range e.top {
		if t.ID == e.id {
			continue
		}
		x := f.token(t.ID, t.Logprob)
		if old, ok := top[x.Token]; !ok || x.Logprob > old { // incomplete UTF-8 sequences have the same text
			top[x.Token] = x.Logprob
		}
	}
	return top
}

// token gives the text and bytes of an id; token_id:ID is the text where there is no tokenizer or the request asks for
// it. JSON has no infinity: like OpenAI, it writes -9999 instead.
func (f *responseBuilder) token(id int32, logp float32) tokenLogprob {
	t := tokenLogprob{Logprob: max(logp, -9999), Bytes: []int{}}
	tok := f.c.model.Tokenizer
	if tok != nil {
		b := tok.Bytes(id)
		for _, x := range b {
			t.Bytes = append(t.Bytes, int(x))
		}
		if t.Token = string(b); !utf8.Valid(b) {
			t.Token = string([]rune(t.Token)) // U+FFFD for an incomplete UTF-8 sequence
		}
	}
	if tok == nil || f.c.asIDs {
		t.Token = fmt.Sprintf("token_id:%d", id)
	}
	return t
}
