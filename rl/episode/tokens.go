package episode

import (
	"strings"
	"unicode/utf8"

	"github.com/zerosearch-go/zerosearch/rl/thought"
	"github.com/zerosearch-go/zerosearch/tokenizer"
)

// Tokenizer is the part of a tokenizer that an episode needs. It is used by many goroutines at once.
type Tokenizer interface {
	// Encode gives the ids of a text of the environment. Strings that spell special tokens must be encoded as plain
	// text.
	Encode(text string) []int32
	// Bytes gives the bytes that an id adds to a text. It gives nil for special tokens, which are not part of the text,
	// unless they are tags of thoughts or actions.
	Bytes(id int32) []byte
}

// Text makes a Tokenizer from the tokenizer of a model.
func Text(t *tokenizer.Tokenizer) Tokenizer { return modelTokenizer{t} }

// modelTokenizer is the Tokenizer of Text.
type modelTokenizer struct{ t *tokenizer.Tokenizer }

func (p modelTokenizer) Encode(text string) []int32 {
	return p.t.Encode(text, tokenizer.EncodeOptions{})
}

func (p modelTokenizer) Bytes(id int32) []byte {
	if p.t.Special(id) {
		if token, _ := p.t.Token(id); !isTag(token) {
			return nil
		}
	}
	return p.t.Bytes(id)
}

// isTag says whether a token is a tag of an action or a thought. Some tokenizers have such tags as special tokens.
func isTag(token string) bool {
	switch token {
	case "<search>", "</search>", "<answer>", "</answer>":
		return true
	}
	return thought.Tag(token)
}

// Prefill is the part of the model's turn that a prompt already contains: the opening tag of a thought and the white
// space after it, if the chat template opens a thought; else "".
func Prefill(tok Tokenizer, prompt []int32) string {
	const tagTokens = 32 // more tokens than a tag and the white space after it have
	return thought.Opened(decode(tok, prompt[max(0, len(prompt)-tagTokens):]))
}

// decode gives the text of ids; invalid UTF-8 becomes U+FFFD.
func decode(tok Tokenizer, ids []int32) string {
	var b []byte
	for _, id := range ids {
		b = append(b, tok.Bytes(id)...)
	}
	return strings.ToValidUTF8(string(b), "\ufffd")
}

// head gives the text of the first limit ids, without a last character that is cut in two.
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

// Shorten cuts text to its first limit ids, without a last character that is cut in two.
func Shorten(tok Tokenizer, text string, limit int) string {
	ids := tok.Encode(text)
	if len(ids) <= limit {
		return text
	}
	return head(tok, ids, limit)
}
