package serve

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/zerosearch-go/zerosearch/engine"
	"github.com/zerosearch-go/zerosearch/tokenizer"
)

// Output says how the tokens of an answer become its text, and which tokens and strings end it.
type Output struct {
	Tokenizer   *tokenizer.Tokenizer // nil: there is no text
	EOS         []int32              // token ids that end the answer
	Stop        []string             // strings that end it
	MinTokens   int                  // a stop string that ends within the text of the first MinTokens tokens is ignored
	IncludeStop bool                 // the text includes the stop string or EOS token
	KeepSpecial bool                 // the text includes special tokens

	listEnd bool // the tokens, not the text, include the EOS token
}

// Stopper is the function for engine.Request.Stop; nil if there is no stop string. It must be called after each token.
// It keeps no more text than the longest stop string.
func (o Output) Stopper() func(ids []int32) bool {
	if len(o.Stop) == 0 || o.Tokenizer == nil {
		return nil
	}
	t := newTranscript(o)
	return func(ids []int32) bool {
		t.add(entry{id: ids[len(ids)-1]})
		t.entries = nil
		return t.stopped
	}
}

// Stream returns two functions that decode an answer token by token: add takes the next token and returns the text that
// is final, end returns the rest.
func (o Output) Stream() (add func(id int32) string, end func() string) {
	t := newTranscript(o)
	add = func(id int32) string {
		text, _ := t.add(entry{id: id})
		return text
	}
	return add, func() string {
		text, _ := t.end()
		return text
	}
}

// Text is the text of a complete answer.
func (o Output) Text(ids []int32) string {
	add, end := o.Stream()
	var all strings.Builder
	for _, id := range ids {
		all.WriteString(add(id))
	}
	all.WriteString(end())
	return all.String()
}

// transcript decodes the tokens of one answer, one at a time, into the text that a client gets. It returns complete
// characters only, nothing from a stop string on, and it holds back text that may be the beginning of a stop string.
type transcript struct {
	Output
	dec *tokenizer.Decoder // nil: there is no text

	pending    string  // decoded, not returned yet: it may become a stop string
	returned   int     // bytes returned
	decoded    int     // bytes decoded
	characters int     // characters decoded
	tokens     int     // tokens added
	minBytes   int     // bytes of the first MinTokens tokens
	entries    []entry // tokens whose text is not returned yet
	stopped    bool    // the stop string reason was found
	reason     string
}

// entry is a token with its log-probability and the most probable tokens at its position.
type entry struct {
	id     int32
	at     int // byte offset of its text
	offset int // character offset of its text
	logp   float32
	top    []engine.TokenLogprob
}

func newTranscript(o Output) *transcript {
	t := &transcript{Output: o}
	if o.Tokenizer != nil {
		t.dec = o.Tokenizer.NewDecoder(!o.KeepSpecial)
	}
	return t
}

// add decodes the next token and returns the text and tokens that are now final.
func (t *transcript) add(e entry) (text string, tokens []entry) {
	ends := !t.IncludeStop && slices.Contains(t.EOS, e.id)
	if t.stopped || ends && !t.listEnd {
		return "", nil
	}
	e.at, e.offset = t.decoded, t.characters
	t.entries = append(t.entries, e)
	if ends {
		return "", nil // the end returns it
	}
	if t.dec == nil {
		return "", t.take(true)
	}
	t.tokens++
	text = t.push(t.dec.Add(e.id))
	return text, t.take(false)
}

// end returns the pending text and tokens.
func (t *transcript) end() (text string, tokens []entry) {
	if t.stopped {
		return "", nil
	}
	if t.dec != nil {
		text = t.push(t.dec.Flush())
	}
	if !t.stopped {
		text += t.pending
		t.returned += len(t.pending)
		t.pending = ""
	}
	return text, t.take(!t.stopped)
}

// push appends decoded text and returns the part that is final.
func (t *transcript) push(piece string) string {
	t.decoded += len(piece)
	t.characters += utf8.RuneCountInString(piece)
	if t.tokens <= t.MinTokens {
		t.minBytes = t.decoded
	}
	t.pending += piece
	n := len(t.pending)
	if from, to, i := firstStop(t.pending, t.Stop, t.minBytes-t.returned); i >= 0 {
		if t.stopped, t.reason, n = true, t.Stop[i], from; t.IncludeStop {
			n = to
		}
	} else {
		n -= partialStop(t.pending, t.Stop)
	}
	out := t.pending[:n]
	t.returned += n
	if t.pending = t.pending[n:]; t.stopped {
		t.pending = ""
	}
	return out
}

// take removes and returns the entries whose text has begun to be returned, or all entries.
func (t *transcript) take(all bool) []entry {
	n := 0
	for n < len(t.entries) && (all || t.entries[n].at < t.returned) {
		n++
	}
	out := t.entries[:n:n]
	t.entries = t.entries[n:]
	return out
}

// firstStop finds the stop string that ends first in text, after byte after. It returns its begin and end (bytes) and
// its index in stops, or -1. Choosing the one that ends first makes the result independent of how the text is split
// into tokens.
func firstStop(text string, stops []string, after int) (from, to, which int) {
	which = -1
	for i, s := range stops {
		start := max(0, after-len(s)+1)
		if start > len(text) {
			continue
		}
		at := strings.Index(text[start:], s)
		if end := start + at + len(s); at >= 0 && (which < 0 || end < to) {
			from, to, which = start+at, end, i
		}
	}
	return from, to, which
}

// partialStop is the length in bytes of the longest suffix of text that is a proper prefix of a stop string.
func partialStop(text string, stops []string) int {
	most := 0
	for _, s := range stops {
		for n := min(len(text), len(s)-1); n > most; n-- {
			if strings.HasSuffix(text, s[:n]) {
				most = n
				break
			}
		}
	}
	return most
}
