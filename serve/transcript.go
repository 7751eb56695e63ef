package serve

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/zerosearch-go/zerosearch/engine"
	"github.com/zerosearch-go/zerosearch/tokenizer"
)

// Output says how the tokens of a continuation become its text, and which texts end it.
type Output struct {
	Tokenizer   *tokenizer.Tokenizer // nil: there is no text
	EOS         []int32              // ids that end the continuation
	Stop        []string             // texts that end it
	MinTokens   int                  // a stop text does not count if it ends within the text of so many tokens
	IncludeStop bool                 // what ends the continuation belongs to its text
	KeepSpecial bool                 // special tokens have text
}

// Stopper is the engine's stop function, nil if there is no stop text. It sees every id once, in order, and keeps no
// more text than a stop text has.
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

// Stream gives the text of a continuation as it comes: add that of the next token, end the rest.
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

// Text is that of a whole continuation.
func (o Output) Text(ids []int32) string {
	add, end := o.Stream()
	var all strings.Builder
	for _, id := range ids {
		all.WriteString(add(id))
	}
	all.WriteString(end())
	return all.String()
}

// transcript turns the ids of one continuation into the text that a client gets, as they come: whole characters,
// nothing from a stop text on, and nothing that may yet turn out to be the beginning of one. Joined, the pieces are the
// same however they were cut.
type transcript struct {
	Output
	dec *tokenizer.Decoder // nil: there is no text

	held       string  // decoded, not given out: it may become a stop text
	given      int     // bytes given out
	decoded    int     // bytes decoded
	characters int     // decoded
	tokens     int     // taken
	floor      int     // bytes of the first MinTokens tokens
	entries    []entry // of tokens whose text is not given out yet
	stopped    bool    // a stop text was found: reason
	reason     string
}

// entry is a token with its log-probability, and the most likely tokens in its place.
type entry struct {
	id     int32
	at     int // where its text begins, in bytes
	offset int // the same in characters
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

// add takes the next token; what it returns is final.
func (t *transcript) add(e entry) (text string, tokens []entry) {
	if t.stopped || !t.IncludeStop && slices.Contains(t.EOS, e.id) {
		return "", nil
	}
	e.at, e.offset = t.decoded, t.characters
	t.entries = append(t.entries, e)
	if t.dec == nil {
		return "", t.take(true)
	}
	t.tokens++
	text = t.push(t.dec.Add(e.id))
	return text, t.take(false)
}

// end returns the rest.
func (t *transcript) end() (text string, tokens []entry) {
	if t.stopped {
		return "", nil
	}
	if t.dec != nil {
		text = t.push(t.dec.Flush())
	}
	if !t.stopped {
		text += t.held
		t.given += len(t.held)
		t.held = ""
	}
	return text, t.take(!t.stopped)
}

// push appends decoded text and returns what is certain of it.
func (t *transcript) push(piece string) string {
	t.decoded += len(piece)
	t.characters += utf8.RuneCountInString(piece)
	if t.tokens <= t.MinTokens {
		t.floor = t.decoded
	}
	t.held += piece
	n := len(t.held)
	if from, to, i := firstStop(t.held, t.Stop, t.floor-t.given); i >= 0 {
		if t.stopped, t.reason, n = true, t.Stop[i], from; t.IncludeStop {
			n = to
		}
	} else {
		n -= beginning(t.held, t.Stop)
	}
	out := t.held[:n]
	t.given += n
	if t.held = t.held[n:]; t.stopped {
		t.held = ""
	}
	return out
}

// take removes the entries whose text has begun to be given out, or all.
func (t *transcript) take(all bool) []entry {
	n := 0
	for n < len(t.entries) && (all || t.entries[n].at < t.given) {
		n++
	}
	out := t.entries[:n:n]
	t.entries = t.entries[n:]
	return out
}

// firstStop finds the stop text that ends first in text, behind byte after: where it begins and ends, and which it is,
// or -1. The one that ends first is the one found whatever pieces the text comes in.
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

// beginning is the length of the longest end of text that is the beginning of one of stops.
func beginning(text string, stops []string) int {
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
