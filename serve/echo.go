package serve

import (
	"bytes"
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/zerosearch-go/zerosearch/engine"
	"github.com/zerosearch-go/zerosearch/tokenizer"
)

// logprobs are written as a list in which NaN is null: the first token of a prompt has no log-probability.
type logprobs []float32

// MarshalJSON writes the list.
func (l logprobs) MarshalJSON() ([]byte, error) {
	list := make([]*float32, len(l))
	for i := range l {
		if l[i] == l[i] {
			list[i] = &l[i]
		}
	}
	return json.Marshal(list)
}

// echoed is a prompt as the beginning of an answer.
type echoed struct {
	text       string
	characters int     // of text
	tokens     []entry // with logprobs: the prompt's
}

// begin makes what the answers to a prompt begin with. text is the prompt as it was sent, nil: as token ids.
func (c *call) begin(ids []int32, text *string, s scored) (e echoed) {
	tok := c.model.Tokenizer
	add := func(int32) string { return "" }
	before, own := 0, len(ids) // tokens that the tokenizer put before the text; the text's
	if tok != nil {
		d := tok.NewDecoder(false)
		add = d.Add
		if text != nil {
			bare := tok.Encode(*text, tokenizer.EncodeOptions{ParseSpecial: true})
			own = len(bare)
			before = around(ids, bare)
		}
	}
	decoded := ""
	for i, id := range ids {
		x := entry{id: id, offset: utf8.RuneCountInString(decoded), logp: float32(math.NaN())}
		if i > 0 && c.logprobs {
			if x.logp = s.logprobs[i-1]; len(s.top) > 0 {
				x.top = s.top[i-1][:min(len(s.top[i-1]), int(c.top))]
			}
		}
		if i >= before && i < before+own {
			decoded += add(id)
		}
		e.tokens = append(e.tokens, x)
	}
	if tok != nil && text == nil {
		e.text = tok.Decode(ids, false)
	} else if text != nil {
		e.text = *text
	}
	e.characters = utf8.RuneCountInString(e.text)
	for i := range e.tokens {
		e.tokens[i].offset = min(e.tokens[i].offset, e.characters)
	}
	return e
}

// around is the number of tokens that a tokenizer put before a text whose own tokens are bare.
func around(ids, bare []int32) (before int) {
	for before+len(bare) < len(ids) && !slices.Equal(ids[before:before+len(bare)], bare) {
		before++
	}
	return before
}

// echoed is what choice i begins with; nothing if the request does not ask for the prompt.
func (f *responseBuilder) echoed(i int) echoed {
	if !f.c.echo || f.c.chat {
		return echoed{}
	}
	return f.c.prefix[i/f.c.choices]
}

// echoes is the number of characters that choice i begins with.
func (c *call) echoes(i int) int {
	if !c.echo {
		return 0
	}
	return c.prefix[i/c.choices].characters
}

// promptLogprobs is the prompt of choice i in vLLM's form: null for the first token, then an object for each token from
// ids to log-probabilities, with the token itself first.
func (f *responseBuilder) promptLogprobs(i int) []json.RawMessage {
	if f.c.promptTop == nil {
		return nil
	}
	ids, s := f.c.prompts[i/f.c.choices], f.c.scored[i/f.c.choices]
	type place struct {
		Logprob float32 `json:"logprob"`
		Rank    int32   `json:"rank"`
		Token   string  `json:"decoded_token"`
	}
	out := []json.RawMessage{json.RawMessage("null")}
	for n, lp := range s.logprobs {
		var all fields
		put := func(t engine.TokenLogprob, rank int32) {
			x := f.token(t.ID, t.Logprob)
			all = append(all, member{strconv.Itoa(int(t.ID)), bytes.TrimSuffix(encode(place{x.Logprob, rank, x.Token}), []byte("\n"))})
		}
		put(engine.TokenLogprob{ID: ids[n+1], Logprob: lp}, s.ranks[n])
		if *f.c.promptTop > 0 {
			for k, t := range s.top[n][:min(len(s.top[n]), int(*f.c.promptTop))] {
				if t.ID != ids[n+1] {
					put(t, int32(k+1))
				}
			}
		}
		out = append(out, toObject(all))
	}
	return out
}

// cached is the number of tokens of a prompt that came from the cache.
func (f *responseBuilder) cached(prompt int, r engine.Result) int {
	if f.c.scored != nil {
		return f.c.scored[prompt].cached
	}
	return r.CachedTokens
}
