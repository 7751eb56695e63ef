package tokenizer

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dlclark/regexp2"
)

// A finder of a Split step calls found with every match in text, in order. Patterns without a scanner in split.go use
// regexp2, which is slower and gives the same matches.
type finder func(text []byte, found func(start, end int)) error

// PatternError is the panic of Encode if the pre-tokenizer's pattern exceeds its time limit on a text, as patterns of a
// broken or hostile tokenizer.json may do. There is no correct result in that case.
type PatternError struct {
	Pattern string
	Bytes   int // length of the text
}

func (e *PatternError) Error() string {
	return fmt.Sprintf("splitting a text of %d bytes: the pre_tokenizer's pattern %q takes too long on it: "+
		"use another tokenizer.json or shorter text", e.Bytes, e.Pattern)
}

// Time limits of a pattern: patternTime for a match, and patternTime + patternPerByte for each byte of the text for all
// matches: a hundred times what published patterns need.
var (
	patternTime    = 10 * time.Second
	patternPerByte = 20 * time.Microsecond
	probeTime      = 2 * time.Second // for a match in the short texts that test a new pattern
)

// newFinder makes the finder of a regular expression.
func newFinder(pattern string) (finder, error) {
	if cut := patterns[pattern]; cut != nil {
		return func(text []byte, found func(start, end int)) error {
			for i := 0; i < len(text); {
				end := cut(text, i)
				found(i, end)
				i = end
			}
			return nil
		}, nil
	}
	re, err := compile(pattern)
	if err != nil {
		return nil, err
	}
	re.MatchTimeout = probeTime
	for _, unit := range []string{"a", " ", "1", "\n", "A", ".", "é", "日", "aB", "a ", " \n"} {
		for _, end := range []string{"", "\x01"} {
			if err := findAll(re, pattern, []byte(strings.Repeat(unit, 1000)+end), func(int, int) {}); err != nil {
				return nil, fmt.Errorf("the pre_tokenizer's pattern %q takes too long on a text of a thousand times %q",
					pattern, unit)
			}
		}
	}
	re.MatchTimeout = patternTime
	return func(text []byte, found func(start, end int)) error { return findAll(re, pattern, text, found) }, nil
}

// compile converts a regular expression of Oniguruma to one of regexp2.
func compile(pattern string) (*regexp2.Regexp, error) {
	if len(pattern) > maxPattern {
		return nil, fmt.Errorf("the pre_tokenizer's pattern has %d bytes, more than %d", len(pattern), maxPattern)
	}
	translated, err := onigToRegexp2(pattern)
	if err != nil {
		return nil, fmt.Errorf("the pre_tokenizer's pattern %q has something that is not supported: %w", pattern, err)
	}
	re, err := regexp2.Compile(translated, regexp2.None)
	if err != nil {
		return nil, fmt.Errorf("the pre_tokenizer's pattern %q cannot be read: %w", pattern, err)
	}
	return re, nil
}

const maxPattern = 1 << 16

func findAll(re *regexp2.Regexp, pattern string, text []byte, found func(start, end int)) error {
	deadline := time.Now().Add(re.MatchTimeout + time.Duration(len(text))*patternPerByte)
	m, err := re.FindStringMatch(string(text))
	at, runes := 0, 0 // bytes and characters before the last position
	place := func(rune int) int {
		for ; runes < rune; runes++ {
			at += width(text[at])
		}
		return at
	}
	last := -1 // the end of the previous match
	for ; m != nil && err == nil; m, err = re.FindNextMatch(m) {
		if m.Length > 0 || m.Index != last { // Oniguruma's iterator skips an empty match just after another match
			start := place(m.Index)
			found(start, place(m.Index+m.Length))
		}
		last = m.Index + m.Length
		if time.Now().After(deadline) {
			return &PatternError{pattern, len(text)}
		}
	}
	if err != nil {
		return &PatternError{pattern, len(text)}
	}
	return nil
}

// width is the length of the UTF-8 character that begins with c.
func width(c byte) int {
	switch {
	case c < 0xC0:
		return 1
	case c < 0xE0:
		return 2
	case c < 0xF0:
		return 3
	}
	return 4
}

// findText is the finder of a fixed string.
func findText(sep string) finder {
	return func(text []byte, found func(start, end int)) error {
		for at := 0; ; {
			i := bytes.Index(text[at:], []byte(sep))
			if i < 0 {
				return nil
			}
			found(at+i, at+i+len(sep))
			at += i + len(sep)
		}
	}
}

// stretch is a match, or the text between two matches.
type stretch struct {
	start, end int
	match      bool
}

// stretches splits text at the matches of f, and removes or joins the parts as behavior says (a value of
// tokenizer.json). invert exchanges matches and the text between them.
func stretches(text []byte, f finder, behavior string, invert bool) ([]stretch, error) {
	var all []stretch
	done := 0
	err := f(text, func(start, end int) {
		if start > done {
			all = append(all, stretch{done, start, invert})
		}
		all = append(all, stretch{start, end, !invert})
		done = end
	})
	if err != nil {
		return nil, err
	}
	if done < len(text) {
		all = append(all, stretch{done, len(text), invert})
	}
	if behavior == "MergedWithNext" {
		slices.Reverse(all)
	}
	var out []stretch
	before := false // the previous part is a match
	for _, s := range all {
		last := len(out) - 1
		switch {
		case behavior == "Removed" && s.match:
		case behavior == "MergedWithPrevious" && s.match && !before && last >= 0:
			out[last].end = s.end
		case behavior == "MergedWithNext" && s.match && !before && last >= 0:
			out[last].start = s.start
		case behavior == "Contiguous" && last >= 0 && out[last].match == s.match:
			out[last].end = s.end
		default:
			out = append(out, s)
		}
		before = s.match
	}
	if behavior == "MergedWithNext" {
		slices.Reverse(out)
	}
	return slices.DeleteFunc(out, func(s stretch) bool { return s.start == s.end }), nil
}

// behaviors are the values of behavior in a Split step.
var behaviors = []string{"Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"}
