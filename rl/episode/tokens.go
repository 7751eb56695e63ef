package episode

import (
	"strings"
	"unicode/utf8"

	"github.com/zerosearch-go/zerosearch/rl/thought"
	"github.com/zerosearch-go/zerosearch/tokenizer"
)

// Tokenizer is what an episode needs of one. It is used by many goroutines at once.
type Tokenizer interface {
	// Encode gives the ids of text from the environment; strings of special tokens in it must stay text.
	Encode(text string) []int32
	// Bytes gives the bytes that an id adds to a text, nil for special ids: they are no part of what the policy says,
	// unless they are tags of its thoughts and actions.
	Bytes(id int32) []byte
}

// Text makes a model's tokenizer a Tokenizer.
func Text(t *tokenizer.Tokenizer) Tokenizer { return plain{t} }

type plain struct{ t *tokenizer.Tokenizer }

func (p plain) Encode(text string) []int32 { return p.t.Encode(text, tokenizer.EncodeOptions{}) }

func (p plain) Bytes(id int32) []byte {
	if p.t.Special(id) {
		if token, _ := p.t.Token(id); !isTag(token) {
			return nil
		}
	}
	return p.t.Bytes(id)
}

// isTag says whether a token is a tag that turns are read by: some tokenizers have them as special tokens.
func isTag(token string) bool {
	switch token {
	case "<search>", "</search>", "<answer>", "</answer>":
		return true
	}
	return thought.Tag(token)
}

// Prefill is what a prompt holds of the model's turn already: the opening tag of a thought with the blanks behind it,
// where the template begins one; else "".
func Prefill(tok Tokenizer, prompt []int32) string {
	const tagTokens = 32 // more than a tag and the blanks behind it have
	return thought.Opened(decode(tok, prompt[max(0, len(prompt)-tagTokens):]))
}

// decode gives the text of ids; bytes that are no character become U+FFFD.
func decode(tok Tokenizer, ids []int32) string {
	var b []byte
	for _, id := range ids {
		b = append(b, tok.Bytes(id)...)
	}
	return strings.ToValidUTF8(string(b), "\ufffd")
}

// head gives the text of as many ids as stand for whole characters of at most limit ids.
func head(tok Tokenizer, ids []int32, limit int) string {
	var b []byte
	for _, id := range ids[:min(max(limit, 0), len(ids))] {
		b = append(b, tok.Bytes(id)...)
	}
	for range utf8.UTFMax {
		if r, n := utf8.DecodeLastRune(b); r != utf8.RuneError || n != 1 {
			break
		}
		b = b[:len(b)-1]
	}
	return string(b)
}

// Shorten cuts text to as many whole characters as at most limit ids stand for.
func Shorten(tok Tokenizer, text string, limit int) string {
	ids := tok.Encode(text)
	if len(ids) <= limit {
		return text
	}
	return head(tok, ids, limit)
}
