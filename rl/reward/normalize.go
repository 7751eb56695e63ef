package reward

import (
	"strings"
	"unicode"
)

// Normalize lower-cases, deletes the 32 ASCII punctuation characters, replaces the words a, an and the by a space and
// joins the remaining words with single spaces. The rules are those of the SQuAD script under Python: full Unicode case
// mapping, and Unicode's word boundaries and white space (Go's regular expressions have ASCII word boundaries only).
func Normalize(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < 0x80 && asciiPunct[r] {
			return -1
		}
		return r
	}, lower(s))
	return strings.Join(strings.FieldsFunc(dropArticles(s), isSpace), " ")
}

var asciiPunct = func() (t [128]bool) {
	for _, r := range "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~" {
		t[r] = true
	}
	return
}()

// dropArticles replaces each whole word a, an or the by one space. A word is a maximal run of letters and numbers:
// boundaries lie only at the ends of such runs, and Normalize has deleted underscores before.
func dropArticles(s string) string {
	var b strings.Builder
	b.Grow(len(s))
	word := func(w string) {
		if isArticle(w) {
			w = " "
		}
		b.WriteString(w)
	}
	start := -1
	for i, r := range s {
		if unicode.IsLetter(r) || unicode.IsNumber(r) {
			if start < 0 {
				start = i
			}
			continue
		}
		if start >= 0 {
			word(s[start:i])
			start = -1
		}
		b.WriteRune(r)
	}
	if start >= 0 {
		word(s[start:])
	}
	return b.String()
}

func isArticle(word string) bool { return word == "a" || word == "an" || word == "the" }

// isSpace says whether r is Unicode white space or one of the four information separators, which Python's split counts
// as space, too.
func isSpace(r rune) bool { return unicode.IsSpace(r) || 0x1c <= r && r <= 0x1f }

// lower is Unicode's full lower-casing, independent of the language: rune by rune, except that İ becomes two code
// points and a capital sigma at the end of a word becomes the final form (SpecialCasing.txt, Final_Sigma).
func lower(s string) string {
	if !strings.ContainsAny(s, "İΣ") {
		return strings.ToLower(s)
	}
	rs := []rune(s)
	var b strings.Builder
	for i, r := range rs {
		switch {
		case r == 'İ':
			b.WriteString("i\u0307")
		case r == 'Σ' && finalSigma(rs, i):
			b.WriteRune('ς')
		default:
			b.WriteRune(unicode.ToLower(r))
		}
	}
	return b.String()
}

// finalSigma says whether the sigma at position i ends a word: a cased letter precedes it and none follows it.
// Case-ignorable characters in between are skipped.
func finalSigma(rs []rune, i int) bool {
	before := i - 1
	for before >= 0 && caseIgnorable(rs[before]) {
		before--
	}
	if before < 0 || !cased(rs[before]) {
		return false
	}
	after := i + 1
	for after < len(rs) && caseIgnorable(rs[after]) {
		after++
	}
	return after == len(rs) || !cased(rs[after])
}

func cased(r rune) bool {
	return unicode.In(r, unicode.Lu, unicode.Ll, unicode.Lt, unicode.Other_Lowercase, unicode.Other_Uppercase)
}

// caseIgnorable is Unicode's Case_Ignorable: marks, format characters, modifiers, and the characters that may stand
// inside a word (Word_Break MidLetter, MidNumLet, Single_Quote).
func caseIgnorable(r rune) bool {
	return unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf, unicode.Lm, unicode.Sk) ||
		strings.ContainsRune("'.:\u00b7\u0387\u055f\u05f4\u2018\u2019\u2024\u2027\ufe13\ufe52\ufe55\uff07\uff0e\uff1a",
			r)
}
