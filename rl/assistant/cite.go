package assistant

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/zerosearch-go/zerosearch/rl/reward"
	"github.com/zerosearch-go/zerosearch/rl/search"
)

// Citation is a document that an answer stands in. A short answer stands in a document if its words, in order, occur in
// it after the scorer's normalisation (case, punctuation and articles do not count). A sentence stands in it if the
// model says so by a mark [N], or if most of the sentence's words occur in it. That shows where an answer can be
// checked, not that the model took it from there.
type Citation struct {
	Turn     int    `json:"turn"`     // from 1
	Document int    `json:"document"` // from 1, as numbered in the turn
	Text     string `json:"text"`
	// Source is the place of the document, nil if the engine does not say it.
	Source *search.Source `json:"source,omitempty"`
}

// stands says whether a document contains a short answer.
func stands(answer, document string) bool { return reward.SubEM(document, []string{answer}) > 0 }

// citation cites a document.
func (a *Assistant) citation(turn, number int, document string) Citation {
	c := Citation{Turn: turn, Document: number, Text: document}
	if s, ok := a.Place(document); ok {
		c.Source = &s
	}
	return c
}

// marks are the model's own citations, as [1] or [1, 2] or [Doc 1].
var marks = regexp.MustCompile(`\s*\[(?:[Dd]oc(?:ument)? *)?\d+(?:, *(?:[Dd]oc(?:ument)? *)?\d+)*\]`)

// WithoutMarks is a text without the marks of its citations.
func WithoutMarks(text string) string { return marks.ReplaceAllString(text, "") }

var numbers = regexp.MustCompile(`\d+`)

// sentence is a part of a text; the parts of a text joined give the text.
type sentence struct{ text, end string } // end is the white space behind it

// sentences splits a text behind the marks that end a sentence and at line breaks. The marks [N] behind a full stop
// belong to the sentence before.
func sentences(text string) []sentence {
	var out []sentence
	for text != "" {
		n := sentenceEnd(text)
		rest := strings.TrimLeftFunc(text[n:], unicode.IsSpace)
		out = append(out, sentence{text[:n], text[n : len(text)-len(rest)]})
		text = rest
	}
	return out
}

// sentenceEnd is the length of the first sentence of a text.
func sentenceEnd(text string) int {
	for i, r := range text {
		switch {
		case r == '\n':
			return i
		case strings.ContainsRune("。！？", r), strings.ContainsRune(".!?", r):
			end := i + len(string(r))
			next := text[end:]
			if r < 0x80 && next != "" && !unicode.IsSpace([]rune(next)[0]) && !strings.HasPrefix(next, "[") {
				continue // a number or an abbreviation
			}
			if m := marks.FindStringIndex(next); m != nil && m[0] == 0 {
				end += m[1]
			}
			return end
		}
	}
	return len(text)
}

// mark puts the numbers of documents, from 1, behind the sentences of a text: those that the model wrote, as far as
// there are such documents, else the document that supports the sentence. cited are the numbers in ascending order.
func mark(text string, documents []string) (marked string, cited []int, unsupported []string) {
	var b strings.Builder
	for _, s := range sentences(text) {
		bare, numbers, supported := markSentence(s.text, documents)
		b.WriteString(bare)
		for _, k := range numbers {
			fmt.Fprintf(&b, " [%d]", k)
			if !slices.Contains(cited, k) {
				cited = append(cited, k)
			}
		}
		b.WriteString(s.end)
		if !supported {
			unsupported = append(unsupported, bare)
		}
	}
	slices.Sort(cited)
	return b.String(), cited, unsupported
}

// Limits of support.
const (
	supportTerms = 3   // a sentence with fewer index terms says nothing that could be checked
	supportShare = 0.5 // of a sentence's terms that a document must contain
)

// markSentence takes the marks off a sentence and gives the numbers of its documents. supported is false of a sentence
// whose words stand in no document.
func markSentence(s string, documents []string) (bare string, cited []int, supported bool) {
	for _, m := range marks.FindAllString(s, -1) {
		for _, n := range numbers.FindAllString(m, -1) {
			if k, err := strconv.Atoi(n); err == nil && k >= 1 && k <= len(documents) && !slices.Contains(cited, k) {
				cited = append(cited, k)
			}
		}
	}
	bare = marks.ReplaceAllString(s, "")
	words := search.TermSet(bare)
	if len(words) < supportTerms || strings.HasPrefix(bare, "#") || strings.HasSuffix(bare, "?") {
		return bare, cited, true
	}
	best, most := 0, 0.0
	for i, d := range documents {
		if share := support(words, search.TermSet(d)); share > most {
			best, most = i+1, share
		}
	}
	supported = most >= supportShare
	if supported && cited == nil {
		cited = []int{best}
	}
	return bare, cited, supported
}

// support is the share of the words that a document contains, 0 if it lacks a number that is among them.
func support(words, document map[string]bool) float64 {
	n := 0
	for w := range words {
		switch {
		case document[w]:
			n++
		case strings.ContainsFunc(w, unicode.IsDigit):
			return 0
		}
	}
	return float64(n) / float64(len(words))
}
