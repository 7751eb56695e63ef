package safetensors

import (
	"fmt"
	"math"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// scanner reads the JSON of headers. The standard library's decoder is too kind for them: it mends lone surrogates, matches field
// names in any case and lets the last of two equal keys win, all of which would let two readers see two different files.
// The text must be valid UTF-8.
type scanner struct {
	text []byte
	pos  int
}

// maxDepth bounds the nesting of values that are skipped.
const maxDepth = 100

func (s *scanner) errorf(format string, args ...any) error {
	return fmt.Errorf("byte %d of the header: %s", s.pos, fmt.Sprintf(format, args...))
}

// found describes what stands at the current position, for errors.
func (s *scanner) found() string {
	if s.pos >= len(s.text) {
		return "the end"
	}
	r, _ := utf8.DecodeRune(s.text[s.pos:])
	return fmt.Sprintf("%q", r)
}

// next skips white space and returns the byte that follows, 0 at the end.
func (s *scanner) next() byte {
	for ; s.pos < len(s.text); s.pos++ {
		switch c := s.text[s.pos]; c {
		case ' ', '\t', '\n', '\r':
		default:
			return c
		}
	}
	return 0
}

// take consumes c, which must come next.
func (s *scanner) take(c byte) error {
	if s.next() != c {
		return s.errorf("expected %q, found %s", c, s.found())
	}
	s.pos++
	return nil
}

// end demands that nothing but white space is left.
func (s *scanner) end() error {
	if s.next(); s.pos < len(s.text) {
		return s.errorf("expected the end, found %s", s.found())
	}
	return nil
}

// list reads "open item, item ... close", calling item where each one starts.
func (s *scanner) list(open, end byte, item func() error) error {
	if err := s.take(open); err != nil {
		return err
	}
	if s.next() == end {
		return s.take(end)
	}
	for {
		if err := item(); err != nil {
			return err
		}
		if s.next() != ',' {
			return s.take(end)
		}
		s.pos++
	}
}

func (s *scanner) array(item func() error) error { return s.list('[', ']', item) }

// object reads an object, calling field with each key where its value starts.
func (s *scanner) object(field func(key string) error) error {
	return s.list('{', '}', func() error {
		key, err := s.str()
		if err == nil {
			err = s.take(':')
		}
		if err != nil {
			return err
		}
		return field(key)
	})
}

// literal consumes one of null, true, false if it comes next.
func (s *scanner) literal(word string) bool {
	s.next()
	if !strings.HasPrefix(string(s.text[s.pos:min(len(s.text), s.pos+len(word))]), word) {
		return false
	}
	s.pos += len(word)
	return true
}

// uint reads an integer from 0 to the largest int: neither sign nor fraction nor exponent.
func (s *scanner) uint() (int, error) {
	c := s.next()
	start := s.pos
	n := 0
	for ; s.pos < len(s.text) && isDigit(s.text[s.pos]); s.pos++ {
		d := int(s.text[s.pos] - '0')
		if n > (math.MaxInt-d)/10 {
			return 0, s.errorf("the number is too large")
		}
		n = n*10 + d
	}
	switch {
	case s.pos == start, s.pos < len(s.text) && strings.IndexByte(".eE", s.text[s.pos]) >= 0:
		return 0, s.errorf("expected an integer of 0 or more, found %s", s.found())
	case c == '0' && s.pos > start+1:
		return 0, s.errorf("a number starts with 0")
	}
	return n, nil
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// str reads a string.
func (s *scanner) str() (string, error) {
	if err := s.take('"'); err != nil {
		return "", err
	}
	start := s.pos
	for ; s.pos < len(s.text); s.pos++ {
		switch c := s.text[s.pos]; {
		case c == '"':
			s.pos++
			return string(s.text[start : s.pos-1]), nil
		case c == '\\':
			return s.escaped(s.text[start:s.pos:s.pos])
		case c < 0x20:
			return "", s.errorf("control character %s inside a string", s.found())
		}
	}
	return "", s.errorf("the string has no end")
}

// escaped reads the rest of a string from its first backslash on; read is what came before.
func (s *scanner) escaped(read []byte) (string, error) {
	for s.pos < len(s.text) {
		c := s.text[s.pos]
		switch {
		case c == '"':
			s.pos++
			return string(read), nil
		case c < 0x20:
			return "", s.errorf("control character %s inside a string", s.found())
		case c != '\\':
			read = append(read, c)
			s.pos++
			continue
		}
		r, err := s.escape()
		if err != nil {
			return "", err
		}
		read = utf8.AppendRune(read, r)
	}
	return "", s.errorf("the string has no end")
}

// escape reads one escape sequence, a surrogate pair included.
func (s *scanner) escape() (rune, error) {
	const plain, means = `"\/bfnrt`, "\"\\/\b\f\n\r\t"
	if s.pos+1 >= len(s.text) {
		return 0, s.errorf("the string has no end")
	}
	c := s.text[s.pos+1]
	if i := strings.IndexByte(plain, c); i >= 0 {
		s.pos += 2
		return rune(means[i]), nil
	}
	if c != 'u' {
		return 0, s.errorf("unknown escape in a string")
	}
	r, ok := s.hex4()
	if ok && utf16.IsSurrogate(r) {
		var low rune
		if low, ok = s.hex4(); ok {
			r = utf16.DecodeRune(r, low)
			ok = r != utf8.RuneError // no pair makes U+FFFD
		}
	}
	if !ok {
		return 0, s.errorf("broken \\u escape in a string")
	}
	return r, nil
}

// hex4 reads \uXXXX.
func (s *scanner) hex4() (r rune, ok bool) {
	if s.pos+6 > len(s.text) || s.text[s.pos] != '\\' || s.text[s.pos+1] != 'u' {
		return 0, false
	}
	for _, c := range s.text[s.pos+2 : s.pos+6] {
		i := strings.IndexByte("0123456789abcdef", c|0x20) // 0x20 makes letters lower case and leaves digits alone
		if i < 0 || c < '0' {
			return 0, false
		}
		r = r<<4 | rune(i)
	}
	s.pos += 6
	return r, true
}

// skip reads a value of any kind and forgets it.
func (s *scanner) skip(depth int) error {
	if depth > maxDepth {
		return s.errorf("more than %d levels of nesting", maxDepth)
	}
	switch c := s.next(); {
	case c == '{':
		return s.object(func(string) error { return s.skip(depth + 1) })
	case c == '[':
		return s.array(func() error { return s.skip(depth + 1) })
	case c == '"':
		_, err := s.str()
		return err
	case c == '-' || isDigit(c):
		return s.number()
	case s.literal("null"), s.literal("true"), s.literal("false"):
		return nil
	}
	return s.errorf("expected a value, found %s", s.found())
}

// number skips a number: -?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?
func (s *scanner) number() error {
	at := func(set string) bool {
		if s.pos < len(s.text) && strings.IndexByte(set, s.text[s.pos]) >= 0 {
			s.pos++
			return true
		}
		return false
	}
	digits := func() bool {
		start := s.pos
		for at("0123456789") {
		}
		return s.pos > start
	}
	at("-")
	ok := at("0") || digits()
	if ok && at(".") {
		ok = digits()
	}
	if ok && at("eE") {
		at("+-")
		ok = digits()
	}
	if !ok {
		return s.errorf("broken number, found %s", s.found())
	}
	return nil
}
