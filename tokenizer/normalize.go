package tokenizer

import (
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// A normalizer rewrites text before it is split.
type normalizer func(string) string

// nfc is Unicode normal form C. x/text breaks runs of more than 30 combining characters with a joiner (its stream-safe
// format), which vocabularies do not know, so such text is composed here.
func nfc(s string) string {
	if norm.NFC.QuickSpanString(s) == len(s) {
		return s
	}
	marks := 0 // combining characters since the last starter, once decomposed
	for _, r := range s {
		p := properties(r)
		n := max(1, utf8.RuneCount(p.Decomposition()))
		if p.LeadCCC() == 0 {
			marks = -1
		}
		if marks += n; marks >= 30 {
			return composeLong(s)
		}
	}
	return norm.NFC.String(s)
}

// composeLong is nfc for any number of combining characters (Unicode Standard, section 3.11).
func composeLong(s string) string {
	var runes []rune
	for _, r := range s {
		if d := properties(r).Decomposition(); d != nil {
			runes = append(runes, []rune(string(d))...)
		} else {
			runes = append(runes, r)
		}
	}
	ccc := func(r rune) uint8 { return properties(r).CCC() }
	for i := 0; i < len(runes); { // canonical order
		if ccc(runes[i]) == 0 {
			i++
			continue
		}
		j := i
		for j < len(runes) && ccc(runes[j]) != 0 {
			j++
		}
		slices.SortStableFunc(runes[i:j], func(a, b rune) int { return int(ccc(a)) - int(ccc(b)) })
		i = j
	}
	out := runes[:0]
	starter, last := -1, uint8(0) // place of the last starter in out, class of the character before
	for _, r := range runes {
		c := ccc(r)
		if starter >= 0 && (last < c || starter == len(out)-1) {
			if pair := norm.NFC.String(string([]rune{out[starter], r})); utf8.RuneCountInString(pair) == 1 {
				out[starter], _ = utf8.DecodeRuneInString(pair)
				continue
			}
		}
		if out = append(out, r); c == 0 {
			starter = len(out) - 1
		}
		last = c
	}
	return string(out)
}

func properties(r rune) norm.Properties {
	return norm.NFC.PropertiesString(string(r))
}

// normalizedMarks maps the marks of text to its normalised form of n bytes: a change of marks at a position is moved to
// the length of the normalised text before it.
func normalizedMarks(normalize normalizer, text, said string, n int) string {
	const context = 64 // bytes before a position that are normalised again, because characters may combine
	marks := make([]byte, 0, n)
	at, from := 0, 0 // positions in text and in its normalised form
	for at < len(text) {
		end := at + 1
		for end < len(text) && said[end] == said[at] {
			end++
		}
		start := max(0, at-context)
		for start > 0 && !utf8.RuneStart(text[start]) {
			start--
		}
		to := len(normalize(text[:end]))
		if start > 0 {
			to = from + len(normalize(text[start:end])) - len(normalize(text[start:at]))
		}
		for to = min(max(to, from), n); from < to; from++ {
			marks = append(marks, said[at])
		}
		at = end
	}
	for ; from < n; from++ {
		marks = append(marks, said[len(said)-1])
	}
	return string(marks)
}

// prepend puts text before everything that is not empty.
func prepend(prefix string) normalizer {
	return func(s string) string {
		if s == "" {
			return s
		}
		return prefix + s
	}
}

func replace(old, replacement string) normalizer {
	return func(s string) string { return strings.ReplaceAll(s, old, replacement) }
}

// chain applies several normalizers in order; nil if there are none.
func chain(list []normalizer) normalizer {
	switch len(list) {
	case 0:
		return nil
	case 1:
		return list[0]
	}
	return func(s string) string {
		for _, n := range list {
			s = n(s)
		}
		return s
	}
}
