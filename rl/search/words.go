package search

import (
	"iter"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/clipperhouse/uax29/v2/words"
	"golang.org/x/text/unicode/norm"
)

// Terms yields the index terms of a text, in lower case and without accents. English stop words are left out, and
// English plurals become singulars. Words end at Unicode's word boundaries (UAX #29) and at ASCII punctuation. Scripts
// that are written without blanks, and Hangul, which appends particles to words, give every pair of neighbouring
// characters (see continuous), and every character by itself. single marks a single character of a longer text: it is
// indexed, so that a query of one character finds it, and it is ignored in queries.
func Terms(text string) iter.Seq2[string, bool] {
	return func(yield func(term string, single bool) bool) {
		for field := range strings.FieldsSeq(strings.ToLower(text)) {
			ok := true
			if isASCII(field) {
				ok = asciiTerms(field, yield)
			} else {
				s := splitter{yield: yield, ok: true}
				s.split(norm.NFKC.String(field))
				ok = s.ok
			}
			if !ok {
				return
			}
		}
	}
}

// TermSet are the index terms of texts that count in a query.
func TermSet(texts ...string) map[string]bool {
	out := map[string]bool{}
	for _, text := range texts {
		for term, single := range Terms(text) {
			if !single {
				out[term] = true
			}
		}
	}
	return out
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// asciiTerms yields the runs of letters and digits of an ASCII text.
func asciiTerms(field string, yield func(string, bool) bool) bool {
	start := 0
	for i := range len(field) + 1 {
		if i < len(field) && isAlphanumeric(field[i]) {
			continue
		}
		if w := field[start:i]; w != "" && !stop[w] && !yield(singular(w), false) {
			return false
		}
		start = i + 1
	}
	return true
}

func isAlphanumeric(c byte) bool { return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' }

// splitter finds the terms of a text that is not all ASCII.
type splitter struct {
	yield func(string, bool) bool
	ok    bool // false: yield asked to stop

	word    []byte   // letters and digits of the present word
	foreign bool     // the word has characters other than ASCII: it is no stop word
	run     []string // characters of a continuous script, each with its combining marks
}

func (s *splitter) split(text string) {
	for it := words.FromString(text); s.ok && it.Next(); {
		segment := it.Value()
		for _, r := range segment {
			s.add(r, utf8.RuneLen(r) == len(segment))
		}
		s.endWord()
	}
	s.endRun()
}

// add takes the next character. lone says that it is a segment by itself, so it does not connect two words.
func (s *splitter) add(r rune, lone bool) {
	number := unicode.IsDigit(r)
	switch {
	case unicode.Is(unicode.Cf, r): // soft hyphens, joiners, and zero-width spaces between words of Thai and Khmer
	case continuous(r) && (unicode.IsLetter(r) || unicode.Is(unicode.Nl, r)): // 〇 is in Nl: a letter number
		s.endWord()
		s.run = append(s.run, string(r))
	case unicode.IsMark(r) && len(s.run) > 0:
		s.run[len(s.run)-1] += string(r)
	case number || unicode.IsLetter(r) || unicode.IsNumber(r):
		s.endRun()
		s.foreign = s.foreign || r >= utf8.RuneSelf
		switch folded, ok := folding[r]; {
		case ok:
			s.word = append(s.word, folded...)
		case number:
			s.word = append(s.word, digit(r))
		default:
			s.word = utf8.AppendRune(s.word, unicode.ToLower(r))
		}
	case unicode.IsMark(r):
		if s.foreign = true; r < 0x300 || r > 0x36f { // U+0300 to U+036F are accents
			s.word = utf8.AppendRune(s.word, r)
		}
	case r < utf8.RuneSelf || r == '’' || lone: // other characters are part of the word around them
		s.endWord()
		s.endRun()
	}
}

func (s *splitter) endWord() {
	if w := string(s.word); w != "" && (s.foreign || !stop[w]) {
		s.emit(singular(w), false)
	}
	s.word, s.foreign = s.word[:0], false
}

func (s *splitter) endRun() {
	for i, c := range s.run {
		if i > 0 {
			s.emit(s.run[i-1]+c, false)
		}
		s.emit(c, len(s.run) > 1)
	}
	s.run = s.run[:0]
}

func (s *splitter) emit(term string, single bool) {
	s.ok = s.ok && s.yield(term, single)
}

// continuous says that a character belongs to a script that is written without blanks between words, or to Hangul,
// which appends particles to words.
func continuous(r rune) bool {
	return r >= 0x0e00 && (r == 'ー' || unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Hangul,
		unicode.Thai, unicode.Lao, unicode.Khmer, unicode.Myanmar,
		unicode.Tai_Le, unicode.New_Tai_Lue, unicode.Tai_Tham, unicode.Tai_Viet, unicode.Ahom))
}

// digit is the ASCII digit of a decimal digit of any script; the ten digits of each script are consecutive code points.
func digit(r rune) byte {
	n := rune(0)
	for n < 9 && unicode.IsDigit(r-n-1) {
		n++
	}
	return byte('0' + n)
}

// folding says how accented and special letters of Latin and Greek are indexed: as the letters that people write on a
// keyboard without them. The Cyrillic ё is often written as е and is indexed as е; й is not changed.
var folding = func() map[rune]string {
	m := map[rune]string{'ł': "l", 'ø': "o", 'đ': "d", 'ð': "d", 'þ': "th", 'æ': "ae", 'œ': "oe", 'ß': "ss",
		'ı': "i", 'ħ': "h", 'ŧ': "t", 'ŋ': "n", 'ĸ': "k",
		'ς': "σ", 'ё': "е", 'ʻ': "", 'ʼ': "", 'ʹ': ""}
	for _, in := range [][2]rune{{0xc0, 0x24f}, {0x1e00, 0x1eff}, {0x386, 0x3ce}, {0x1f00, 0x1fff}} {
		for r := in[0]; r <= in[1]; r++ {
			base := strings.Map(func(r rune) rune {
				if unicode.IsMark(r) {
					return -1
				}
				return unicode.ToLower(r)
			}, norm.NFKD.String(string(r)))
			if first, _ := utf8.DecodeRuneInString(base); unicode.IsLetter(r) && base != string(r) {
				if s, ok := m[first]; ok { // ǿ is ø with an accent
					base = s + base[utf8.RuneLen(first):]
				}
				m[r] = base
			}
		}
	}
	return m
}()

// stop is Lucene's set of English stop words.
var stop = func() map[string]bool {
	m := map[string]bool{}
	for _, w := range strings.Fields("a an and are as at be but by for if in into is it no not of on or such that " +
		"the their then there these they this to was will with") {
		m[w] = true
	}
	return m
}()

// singular turns English plurals into singulars (the S-stemmer of Harman 1991).
func singular(w string) string {
	switch {
	case len(w) <= 3 || !strings.HasSuffix(w, "s"):
		return w
	case strings.HasSuffix(w, "ies") && !strings.HasSuffix(w, "eies") && !strings.HasSuffix(w, "aies"):
		return w[:len(w)-3] + "y"
	case strings.HasSuffix(w, "es") && !strings.HasSuffix(w, "aes") && !strings.HasSuffix(w, "ees") &&
		!strings.HasSuffix(w, "oes"):
		return w[:len(w)-1]
	case !strings.HasSuffix(w, "us") && !strings.HasSuffix(w, "ss") && !strings.HasSuffix(w, "es"):
		return w[:len(w)-1]
	}
	return w
}
