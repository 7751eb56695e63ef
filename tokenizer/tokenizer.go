package tokenizer

import (
	"slices"
	"strings"
	"sync"
	"unicode/utf8"
)

// A Tokenizer turns text into token ids and back. It is safe for concurrent use.
type Tokenizer struct {
	model      bpe
	normalize  normalizer // nil: text stays as it is
	steps      []step
	raw        *matcher // added tokens that are searched in the original text
	normalized *matcher // added tokens that are searched in the normalised text
	template   template

	added     addedTokens
	special   []bool // by id: decoding can leave the token out
	decoding  decoding
	plain     *vocab // character-level models: the text of each token, U+2581 as space and <0xXX> as byte
	byteToken []bool // by id: a byte-fallback token

	stated   int // VocabSize of tokenizer.json alone, without tokens of the files beside it
	bos, eos []int32
	chat     chatSource

	mu    sync.Mutex
	spare []*state
}

// EncodeOptions are options for special tokens in Encode.
type EncodeOptions struct {
	// put the tokens around the text that the model expects (tokenizer.json's post-processor; often BOS, often nothing)
	AddSpecial bool
	// the strings of special tokens in the text become their ids; otherwise they are text. Added tokens that are
	ParseSpecial bool
	// not flagged special (Qwen's <think>) are found in both cases.
}

// Encode returns the ids of text. Bytes that are not valid UTF-8 are taken as U+FFFD, by the rule that Decoder follows.
// It panics with a *PatternError if a regular expression of tokenizer.json exceeds its time limit.
func (t *Tokenizer) Encode(text string, opt EncodeOptions) []int32 {
	st := t.acquire()
	defer t.release(st)
	st.text = pad(st.text, validText(text))
	out := make([]int32, 0, len(text)/3+8)
	if opt.AddSpecial {
		out = append(out, t.template.before...)
	}
	out = t.encode(st, out, st.text, opt.ParseSpecial, "")
	if opt.AddSpecial {
		out = append(out, t.template.after...)
	}
	return out
}

// encode finds the added tokens, and between them normalises, splits and merges. Special tokens are not
// searched in text that said marks (see Marked).
func (t *Tokenizer) encode(st *state, out []int32, text []byte, parseSpecial bool, said string) []int32 {
	first := true // no text before
	pieces := func(part []byte, _ string) {
		out = t.split(st, out, part, t.steps, first)
		first = false
	}
	token := func(a *addedToken) {
		out = append(out, int32(a.ID))
		first = false
	}
	if t.normalize == nil && t.normalized == nil {
		t.raw.cut(text, parseSpecial, said, pieces, token)
		return out
	}
	t.raw.cut(text, parseSpecial, said, func(part []byte, said string) {
		if t.normalize != nil {
			s := string(part)
			if n := t.normalize(s); n != s {
				part = pad(nil, n)
				if said != "" && t.normalized != nil {
					said = normalizedMarks(t.normalize, s, said, len(n))
				}
			}
		}
		t.normalized.cut(part, parseSpecial, said, pieces, token)
	}, token)
	return out
}

// split applies the pre-tokenizers in order, each to all pieces of the previous one, and merges within the final
// pieces.
func (t *Tokenizer) split(st *state, out []int32, text []byte, steps []step, first bool) []int32 {
	if len(text) == 0 {
		return out
	}
	if len(steps) == 0 {
		return t.model.encode(st, out, text)
	}
	s, rest := steps[0], steps[1:]
	text = s.prepare(text, first)
	if s.find != nil {
		parts, err := stretches(text, s.find, s.behavior, s.invert)
		if err != nil {
			panic(err)
		}
		for _, p := range parts {
			out = t.split(st, out, text[p.start:p.end], rest, first && p.start == 0)
		}
		return out
	}
	if s.cut == nil {
		return t.split(st, out, text, rest, first)
	}
	if len(rest) == 0 {
		for i := 0; i < len(text); {
			end := s.cut(text, i)
			out = t.model.encode(st, out, text[i:end])
			i = end
		}
		return out
	}
	for i := 0; i < len(text); {
		end := s.cut(text, i)
		out = t.split(st, out, text[i:end], rest, first && i == 0)
		i = end
	}
	return out
}

// prepare returns the text with the step's prefix and replacement.
func (s *step) prepare(text []byte, first bool) []byte {
	switch {
	case s.prefixSpace && text[0] != ' ':
		return pad(nil, " "+string(text))
	case s.metaspace:
		r := strings.ReplaceAll(string(text), " ", metaspace)
		if s.scheme != "never" && (s.scheme != "first" || first) && !strings.HasPrefix(r, metaspace) {
			r = metaspace + r
		}
		return pad(nil, r)
	}
	return text
}

// validText replaces invalid bytes as a Decoder does.
func validText(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	d := Decoder{pending: []byte(s)}
	return string(d.settle(nil, true))
}

const maxSpare = 16

func (t *Tokenizer) acquire() *state {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := len(t.spare); n > 0 {
		st := t.spare[n-1]
		t.spare = t.spare[:n-1]
		return st
	}
	return &state{cache: make([]cached, 1<<cacheBits)}
}

func (t *Tokenizer) release(st *state) {
	if cap(st.text) > 1<<20 {
		st.text = nil
	}
	if cap(st.ids) > 1<<16 {
		st.ids, st.long = nil, longMerge{}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.spare) < maxSpare {
		t.spare = append(t.spare, st)
	}
}

// VocabSize is one more than the largest id, added tokens included. A model's embedding may have more rows.
func (t *Tokenizer) VocabSize() int { return len(t.model.vocab.spans) }

// Rows is the minimum number of rows of the model's embedding: VocabSize without special tokens at the end that are
// only in the files beside tokenizer.json. Some published models have such a padding token without a row; only its own
// text is encoded as its id.
func (t *Tokenizer) Rows() int {
	n := t.VocabSize()
	for n > t.stated && t.Special(int32(n-1)) {
		n--
	}
	return n
}

// ID returns the id of a token as tokenizer.json spells it (in a byte-level vocabulary "Ġthe" is " the"); ok is false
// if there is none.
func (t *Tokenizer) ID(token string) (id int32, ok bool) {
	if id, ok = t.added.ids[token]; ok {
		return id, true
	}
	v := t.model.vocab
	if id, ok = v.rawIDs[token]; ok {
		return id, true
	}
	b := []byte(token)
	if v.byteLevel {
		if b, ok = fromAlphabet(nil, b); !ok {
			return 0, false
		}
	}
	id = v.find(b)
	return max(id, 0), id >= 0
}

// Token returns the token of an id as tokenizer.json spells it; ok is false for an id without a token.
func (t *Tokenizer) Token(id int32) (token string, ok bool) {
	v := t.model.vocab
	b := v.bytes(id)
	if b == nil {
		return "", false
	}
	if v.byteLevel && !v.raw[id] {
		return toAlphabet(b), true
	}
	return string(b), true
}

// Bytes returns the bytes that an id adds to a text, nil for an id without a token. A token may be part of a character.
// The caller must not change them.
func (t *Tokenizer) Bytes(id int32) []byte { return t.bytes(id) }

func (t *Tokenizer) bytes(id int32) []byte {
	if t.plain != nil {
		return t.plain.bytes(id)
	}
	return t.model.vocab.bytes(id)
}

// Special reports whether an id is a special token, which decoding can leave out.
func (t *Tokenizer) Special(id int32) bool {
	return uint32(id) < uint32(len(t.special)) && t.special[id]
}

// BOS returns the beginning-of-sequence id of tokenizer_config.json, generation_config.json or config.json; ok is false
// if none names one.
func (t *Tokenizer) BOS() (id int32, ok bool) {
	if len(t.bos) == 0 {
		return 0, false
	}
	return t.bos[0], true
}

// EOS returns the first of EOSIDs; ok is false if there is none.
func (t *Tokenizer) EOS() (id int32, ok bool) {
	if len(t.eos) == 0 {
		return 0, false
	}
	return t.eos[0], true
}

// EOSIDs returns the ids that end a generation: the eos_token of tokenizer_config.json, then those of
// generation_config.json and config.json that it does not name already. Without such files there are none.
func (t *Tokenizer) EOSIDs() []int32 { return slices.Clone(t.eos) }
