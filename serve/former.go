package serve

import (
	"unicode/utf8"

	"github.com/zerosearch-go/zerosearch/engine"
)

// former gives the pieces of a call the form of its endpoint, whole or in chunks.
type former struct {
	c       *call
	choices []formed
}

type formed struct {
	text   string
	tokens []entry
	ids    []int32
	finish string
	stop   any
	result engine.Result
	begun  bool // a chunk was made
}

func newFormer(c *call) *former { return &former{c: c, choices: make([]formed, c.sequences())} }

// add gathers a piece.
func (f *former) add(p piece) {
	x := &f.choices[p.choice]
	x.text += p.text
	x.tokens = append(x.tokens, p.tokens...)
	x.ids = append(x.ids, p.ids...)
	if p.finish != "" {
		x.finish, x.stop, x.result = p.finish, p.stop, p.result
	}
}

func (f *former) answer(object string, choices []choice) answer {
	return answer{ID: f.c.id, Object: object, Created: f.c.created, Model: f.c.model.ID, Choices: choices}
}

// whole is the response of a call that has ended.
func (f *former) whole() answer {
	a := f.answer("text_completion", nil)
	if f.c.chat {
		a.Object = "chat.completion"
	}
	for i := range f.choices {
		x := &f.choices[i]
		ch := choice{Index: i, Finish: &x.finish, Stop: x.stop, Logprobs: f.logprobs(x.tokens)}
		if f.c.chat {
			ch.Message = &message{Role: "assistant", Content: x.text}
		} else {
			ch.Text = &x.text
		}
		if f.c.returnIDs {
			ch.IDs, ch.PromptIDs = &x.ids, &f.c.prompts[i/f.c.choices]
		}
		a.Choices = append(a.Choices, ch)
	}
	a.Usage = f.used()
	return a
}

// chunks are the events that a piece of a stream is worth.
func (f *former) chunks(p piece) []answer {
	x := &f.choices[p.choice]
	var out []answer
	add := func(ch choice) {
		ch.Index = p.choice
		object := "text_completion"
		if f.c.chat {
			object = "chat.completion.chunk"
		}
		out = append(out, f.answer(object, []choice{ch}))
	}
	if !x.begun && f.c.chat {
		add(choice{Delta: &delta{Role: "assistant", Content: new(string)}})
	}
	ids := func() *[]int32 {
		if !f.c.returnIDs {
			return nil
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

// last is the event with the usage of a stream.
func (f *former) last() answer {
	a := f.answer("text_completion", []choice{})
	if f.c.chat {
		a.Object = "chat.completion.chunk"
	}
	a.Usage = f.used()
	return a
}

// used counts tokens: a prompt once, whatever its choices.
func (f *former) used() *usage {
	var u usage
	for i := range f.choices {
		x := &f.choices[i]
		u.Completion += len(x.result.IDs)
		if i%f.c.choices == 0 {
			u.Prompt += len(f.c.prompts[i/f.c.choices])
			u.Details.Cached += x.result.CachedTokens
		}
	}
	u.Total = u.Prompt + u.Completion
	return &u
}

// logprobs is what a choice says of its tokens; nil if nobody asked.
func (f *former) logprobs(tokens []entry) any {
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
		out.Tokens, out.Values, out.Offsets = append(out.Tokens, t.Token), append(out.Values, t.Logprob), append(out.Offsets, e.offset)
		if f.c.top > 0 {
			top := map[string]float32{}
			for _, t := range e.top {
				x := f.token(t.ID, t.Logprob)
				if old, ok := top[x.Token]; !ok || x.Logprob > old { // parts of characters look alike
					top[x.Token] = x.Logprob
				}
			}
			out.Top = append(out.Top, top)
		}
	}
	return out
}

// token spells an id. JSON has no infinity: OpenAI's stand-in is -9999.
func (f *former) token(id int32, logp float32) tokenLogprob {
	t := tokenLogprob{Logprob: max(logp, -9999), Bytes: []int{}}
	if tok := f.c.model.Tokenizer; tok != nil {
		b := tok.Bytes(id)
		for _, x := range b {
			t.Bytes = append(t.Bytes, int(x))
		}
		if t.Token = string(b); !utf8.Valid(b) {
			t.Token = string([]rune(t.Token)) // U+FFFD for what is not whole
		}
	}
	return t
}
