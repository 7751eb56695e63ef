package reward

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Mentions reports whether a text contains one of the golds as whole words after the same normalisation as EM's. It is
// stricter than SubEM, which finds "one" in "stone": in a long text, short golds are found by chance. Characters of
// scripts that are written without blanks need no boundary.
func Mentions(text string, golds []string) bool {
	t := Normalize(text)
	for _, gold := range golds {
		g := Normalize(gold)
		if g == "" {
			if containsWords(text, gold) {
				return true
			}
			continue
		}
		for at := 0; ; {
			i := strings.Index(t[at:], g)
			if i < 0 {
				break
			}
			start, end := at+i, at+i+len(g)
			if bounded(t, start) && bounded(t, end) {
				return true
			}
			_, size := utf8.DecodeRuneInString(t[start:])
			at = start + size
		}
	}
	return false
}

// bounded reports whether a word may begin or end at byte i of a text.
func bounded(t string, i int) bool {
	before, _ := utf8.DecodeLastRuneInString(t[:i])
	after, _ := utf8.DecodeRuneInString(t[i:])
	return i == 0 || i == len(t) || !wordRune(before) || !wordRune(after)
}

// wordRune reports whether a character is part of a word of a script that is written with blanks between words.
func wordRune(r rune) bool {
	return (unicode.IsLetter(r) || unicode.IsNumber(r) || unicode.IsMark(r)) &&
		!unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Hangul, unicode.Thai, unicode.Lao,
			unicode.Khmer, unicode.Myanmar)
}
