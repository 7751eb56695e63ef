package serve

import (
	"slices"
	"strings"

	"github.com/zerosearch-go/zerosearch/engine"
	"github.com/zerosearch-go/zerosearch/tokenizer"
)

// transcript turns the ids of one continuation into the text that a client gets, as they come: whole characters, nothing from a stop
// text on, and nothing that may yet turn out to be the beginning of one. Joined, the pieces are the same however they were cut.
type transcript struct {
	dec   *tokenizer.Decoder // nil: there is no text
	eos   []int32            // leave no text and no entry
	stops []string

	held    string  // decoded, not given out: it may become a stop text
	given   int     // bytes given out
	decoded int     // bytes decoded
	entries []entry // of tokens whose text is not given out yet
	stopped bool    // a stop text was found
}

// entry is a token with its log-probability, and the most likely tokens in its place.
type entry struct {
	id   int32
	at   int // where its text begins, in bytes
	logp float32
	top  []engine.TokenLogprob
}

func newTranscript(tok *tokenizer.Tokenizer, eos []int32, stops []string) *transcript {
	t := &transcript{eos: eos, stops: stops}
	if tok != nil {
		t.dec = tok.NewDecoder(true)
	}
	return t
}

// add takes the next token; what it returns is final.
func (t *transcript) add(e entry) (text string, tokens []entry) {
	if t.stopped || slices.Contains(t.eos, e.id) {
		return "", nil
	}
	e.at = t.decoded
	t.entries = append(t.entries, e)
	if t.dec == nil {
		return "", t.take(true)
	}
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
	t.held += piece
	n := len(t.held)
	if at := stopAt(t.held, t.stops); at >= 0 {
		t.stopped, n = true, at
	} else {
		n -= beginning(t.held, t.stops)
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

// stopAt is where the first of stops begins in text, or -1.
func stopAt(text string, stops []string) int {
	at := -1
	for _, s := range stops {
		if i := strings.Index(text, s); i >= 0 && (at < 0 || i < at) {
			at = i
		}
	}
	return at
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

// stopper is the engine's stop function for stops: it sees every id once, in order. It keeps no more text than a stop text has.
func stopper(tok *tokenizer.Tokenizer, eos []int32, stops []string) func(ids []int32) bool {
	if len(stops) == 0 {
		return nil
	}
	t := newTranscript(tok, eos, stops)
	return func(ids []int32) bool {
		t.add(entry{id: ids[len(ids)-1]})
		t.entries = nil
		return t.stopped
	}
}
