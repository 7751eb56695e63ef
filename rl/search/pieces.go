package search

import (
	"strings"
	"unicode"
)

// piece is a part of a text that is never split between passages: a word, or a sentence of a script that is written
// without blanks.
type piece struct {
	text   string
	words  int
	joined bool // it follows the piece before without a blank
}

const (
	pieceWords        = passageWords / 4 // a longer sentence is split
	charactersPerWord = 2                // so many characters of a script without blanks count as one word
)

// cutWords splits a text at its blanks. Text of scripts that are written without blanks is split at the ends of
// sentences. words is the number of words of all pieces.
func cutWords(text string) (out []piece, words int) {
	for field := range strings.FieldsSeq(text) {
		start, characters, first := 0, 0, true
		take := func(end int) {
			w := piece{field[start:end], max(1, (characters+charactersPerWord-1)/charactersPerWord), !first}
			out, words = append(out, w), words+w.words
			start, characters, first = end, 0, false
		}
		ended := false // a sentence
		for i, r := range field {
			letter := continuous(r) && !unicode.In(r, unicode.Mark, unicode.Hangul)
			if letter && (ended || characters >= pieceWords*charactersPerWord) {
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
