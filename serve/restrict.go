package serve

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/zerosearch-go/zerosearch/internal/jsongrammar"
	"github.com/zerosearch-go/zerosearch/tokenizer"
)

// grammars are the compiled schemas of a server, by their texts.
type grammars struct {
	mu  sync.Mutex
	all map[string]*jsongrammar.Grammar
}

const mostGrammars = 64

// of is the grammar that a restriction asks for; nil: none.
func (g *grammars) of(r *restriction) (made *jsongrammar.Grammar, err error) {
	if r.param == "" {
		return nil, nil
	}
	key := fmt.Sprintf("%q%v%s", r.choices, r.object, r.schema)
	g.mu.Lock()
	defer g.mu.Unlock()
	if made = g.all[key]; made != nil {
		return made, nil
	}
	switch {
	case r.object:
		made = jsongrammar.AnyObject()
	case r.choices != nil:
		made = jsongrammar.Choices(r.choices)
	default:
		if made, err = jsongrammar.Compile([]byte(r.schema)); err != nil {
			e := bad(r.param, "the schema of %s: %v", r.param, err)
			e.Code = "unsupported_value"
			return nil, e
		}
	}
	if g.all == nil || len(g.all) >= mostGrammars {
		g.all = map[string]*jsongrammar.Grammar{}
	}
	g.all[key] = made
	return made, nil
}

// restrict checks the request's restriction against the model.
func (c *call) restrict(g *grammars) (err error) {
	r := &c.restriction
	switch {
	case c.model.Tokenizer == nil && (r.param != "" || r.words != nil):
		return bad(r.param, "model %s has no tokenizer, so its answers are no text: use allowed_token_ids", c.model.ID)
	case r.param != "" && c.minTokens > 0:
		return bad("min_tokens", "min_tokens is not supported with %s, which says where an answer ends", r.param)
	case r.param != "" && c.tools.on():
		return bad(r.param, "%s is not supported with tools that the model may call: set tool_choice to none", r.param)
	}
	if err := c.model.checkIDs("allowed_token_ids", r.allowed); err != nil {
		return err
	}
	for _, w := range r.words {
		c.badWords = append(c.badWords, spellings(c.model.Tokenizer, w)...)
	}
	c.grammar, err = g.of(r)
	return err
}

// spellings are the token ids of a bad word, as vLLM defines them: as it begins a text, and after a space if that is a
// different word of as many tokens.
func spellings(t *tokenizer.Tokenizer, word string) [][]int32 {
	word = strings.TrimLeft(word, " \t\r\n")
	plain := t.Encode(word, tokenizer.EncodeOptions{})
	spaced := t.Encode(" "+word, tokenizer.EncodeOptions{})
	var all [][]int32
	for _, ids := range [][]int32{plain, spaced} {
		if len(ids) > 0 && (len(all) == 0 || ids[0] != all[0][0] && len(ids) == len(all[0])) {
			all = append(all, ids)
		}
	}
	return all
}

// newVocabulary is the vocabulary of a model for grammars. Special tokens are not in it.
func newVocabulary(m *Model) *jsongrammar.Vocabulary {
	return jsongrammar.NewVocabulary(m.Config.Vocab, func(id int32) []byte {
		if m.Tokenizer.Special(id) {
			return nil
		}
		return m.Tokenizer.Bytes(id)
	})
}

// restrictions are the functions Restrict and Stop of the engine's request for one choice; nil where nothing is
// restricted.
func (c *call) restrictions() (restrict func(ids []int32, allowed []bool), stop func(ids []int32) bool) {
	r := &c.restriction
	if c.grammar == nil && r.allowed == nil && len(c.badWords) == 0 {
		return nil, nil
	}
	form, known := func([]int32) {}, 0
	var m *jsongrammar.Matcher
	if c.grammar != nil {
		m = c.grammar.Match(c.model.vocabulary())
		form = func(ids []int32) {
			for ; known < len(ids); known++ {
				m.Advance(c.model.Tokenizer.Bytes(ids[known]))
			}
		}
		stop = func(ids []int32) bool {
			form(ids)
			_, must := m.Complete()
			return must
		}
	}
	return func(ids []int32, allowed []bool) {
		if r.allowed != nil {
			only(allowed, r.allowed)
		}
		for _, word := range c.badWords {
			last := len(word) - 1
			if last <= len(ids) && slices.Equal(ids[len(ids)-last:], word[:last]) {
				allowed[word[last]] = false
			}
		}
		if form(ids); m != nil {
			m.Allow(allowed, c.sample.EOS)
		}
	}, stop
}

// only clears all elements of allowed but those of ids.
func only(allowed []bool, ids []int32) {
	clear(allowed)
	for _, id := range ids {
		allowed[id] = true
	}
}
