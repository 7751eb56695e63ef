package search

import (
	"strings"
	"unicode"
)

// piece is what is not cut when a document is cut into passages: a word, or a sentence of a script without blanks.
type piece struct {
	text   string
	words  int
	joined bool // no blank stands before it
}

const (
	pieceWords    = passageWords / 4 // a longer sentence is cut
	charactersOf1 = 2                // of a script without blanks, that count as a word
)

// cutWords takes a text apart at its blanks, and what is written without blanks at the ends of sentences.
func cutWords(text string) (out []piece, words int) {
	for field := range strings.FieldsSeq(text) {
		start, characters, first := 0, 0, true
		take := func(end int) {
			w := piece{field[start:end], max(1, (characters+charactersOf1-1)/charactersOf1), !first}
			out, words = append(out, w), words+w.words
			start, characters, first = end, 0, false
		}
		ended := false // a sentence
		for i, r := range field {
			letter := continuous(r) && !unicode.In(r, unicode.Mark, unicode.Hangul)
			if letter && (ended || characters >= pieceWords*charactersOf1) {
				take(i)
			}
			if ended = ended && !letter || strings.ContainsRune("。！？；។။", r); letter {
				characters++
			}
		}
		take(len(field))
	}
	return out, words
}
