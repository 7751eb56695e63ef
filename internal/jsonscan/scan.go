// Package jsonscan walks JSON that comes from outside, in place and without building a tree. It is strict where
// encoding/json is not: that mends lone surrogates, matches the names of fields in any case and lets the last of two
// equal keys win, so that two readers of one file could see two different files. Keys that are given twice are the
// caller's to refuse.
package jsonscan

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Scanner reads Text from Pos on. It checks the syntax of what it visits; Raw only finds the end of a value.
type Scanner struct {
	Text []byte
	Pos  int
	Of   string // what Text is, for errors: "the header"; "": JSON
}

// MaxDepth bounds the nesting of values that Skip and Raw pass over.
const MaxDepth = 100

// Errorf is an error at the current position.
func (s *Scanner) Errorf(format string, args ...any) error {
	if s.Of == "" {
		return fmt.Errorf("bad JSON at byte %d: %s", s.Pos, fmt.Sprintf(format, args...))
	}
	return fmt.Errorf("byte %d of %s: %s", s.Pos, s.Of, fmt.Sprintf(format, args...))
}

// found describes what stands at the current position, for errors.
func (s *Scanner) found() string {
	if s.Pos >= len(s.Text) {
		return "the end"
	}
	r, _ := utf8.DecodeRune(s.Text[s.Pos:])
	return fmt.Sprintf("%q", r)
}

// Peek skips white space and returns the byte that follows, 0 at the end.
func (s *Scanner) Peek() byte {
	for s.Pos < len(s.Text) {
		switch c := s.Text[s.Pos]; c {
		case ' ', '\n', '\t', '\r':
			s.Pos++
		default:
			return c
		}
	}
	return 0
}

// take consumes c, which must come next.
func (s *Scanner) take(c byte) error {
	if s.Peek() != c {
		return s.Errorf("expected %q, found %s", c, s.found())
	}
	s.Pos++
	return nil
}

// End demands that nothing but white space is left.
func (s *Scanner) End() error {
	if s.Peek(); s.Pos < len(s.Text) {
		return s.Errorf("expected the end, found %s", s.found())
	}
	return nil
}

// list reads "open item, item ... end", calling item where each one starts.
func (s *Scanner) list(open, end byte, item func() error) error {
	if err := s.take(open); err != nil {
		return err
	}
	if s.Peek() == end {
		return s.take(end)
	}
	for {
		if err := item(); err != nil {
			return err
		}
		switch s.Peek() {
		case ',':
			s.Pos++
		case end:
			s.Pos++
			return nil
		default:
			return s.Errorf("expected ',' or %q, found %s", end, s.found())
		}
	}
}

// Array reads an array; item must consume the element that starts where it is called.
func (s *Scanner) Array(item func() error) error { return s.list('[', ']', item) }

// Object reads an object; member must consume the value of key, which is valid during the call only.
func (s *Scanner) Object(member func(key []byte) error) error {
	return s.list('{', '}', func() error {
		key, err := s.Str(nil)
		if err == nil {
			err = s.take(':')
		}
		if err != nil {
			return err
		}
		return member(key)
	})
}

// Literal consumes one of null, true, false if it comes next.
func (s *Scanner) Literal(word string) bool {
	s.Peek()
	if !strings.HasPrefix(string(s.Text[s.Pos:min(len(s.Text), s.Pos+len(word))]), word) {
		return false
	}
	s.Pos += len(word)
	return true
}

// Uint reads an integer from 0 to the largest int: neither sign nor fraction nor exponent.
func (s *Scanner) Uint() (int, error) {
	c := s.Peek()
	start := s.Pos
	n := 0
	for ; s.Pos < len(s.Text) && isDigit(s.Text[s.Pos]); s.Pos++ {
		d := int(s.Text[s.Pos] - '0')
		if n > (math.MaxInt-d)/10 {
			return 0, s.Errorf("the number is too large")
		}
		n = n*10 + d
	}
	switch {
	case s.Pos == start, s.Pos < len(s.Text) && strings.IndexByte(".eE", s.Text[s.Pos]) >= 0:
		return 0, s.Errorf("expected an integer of 0 or more, found %s", s.found())
	case c == '0' && s.Pos > start+1:
		return 0, s.Errorf("a number starts with 0")
	}
	return n, nil
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// Int reads an integer with neither fraction nor exponent.
func (s *Scanner) Int() (int, error) {
	s.Peek()
	start := s.Pos
	for s.Pos < len(s.Text) && (s.Text[s.Pos] == '-' || isDigit(s.Text[s.Pos])) {
		s.Pos++
	}
	n, err := strconv.Atoi(string(s.Text[start:s.Pos]))
	if err != nil {
		return 0, s.Errorf("expected an integer")
	}
	return n, nil
}

// Str reads a string. Without escapes the result lies in Text; otherwise it is appended to buf.
func (s *Scanner) Str(buf []byte) ([]byte, error) {
	if err := s.take('"'); err != nil {
		return nil, err
	}
	b, start := s.Text, s.Pos
	for i := start; i < len(b); i++ {
		switch c := b[i]; {
		case c == '"':
			s.Pos = i + 1
			return b[start:i], nil
		case c == '\\':
			s.Pos = i
			return s.escaped(append(buf, b[start:i]...))
		case c < ' ':
			s.Pos = i
			return nil, s.Errorf("control character %s inside a string", s.found())
		}
	}
	s.Pos = len(b)
	return nil, s.Errorf("the string has no end")
}

// escaped reads the rest of a string from its first backslash on; read is what came before.
func (s *Scanner) escaped(read []byte) ([]byte, error) {
	for s.Pos < len(s.Text) {
		c := s.Text[s.Pos]
		switch {
		case c == '"':
			s.Pos++
			return read, nil
		case c < 0x20:
			return nil, s.Errorf("control character %s inside a string", s.found())
		case c != '\\':
			read = append(read, c)
			s.Pos++
			continue
		}
		r, err := s.escape()
		if err != nil {
			return nil, err
		}
		read = utf8.AppendRune(read, r)
	}
	return nil, s.Errorf("the string has no end")
}

// escape reads one escape sequence, a surrogate pair included.
func (s *Scanner) escape() (rune, error) {
	const plain, means = `"\/bfnrt`, "\"\\/\b\f\n\r\t"
	if s.Pos+1 >= len(s.Text) {
		return 0, s.Errorf("the string has no end")
	}
	c := s.Text[s.Pos+1]
	if i := strings.IndexByte(plain, c); i >= 0 {
		s.Pos += 2
		return rune(means[i]), nil
	}
	if c != 'u' {
		return 0, s.Errorf("unknown escape in a string")
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
		return 0, s.Errorf("broken \\u escape in a string")
	}
	return r, nil
}

// hex4 reads \uXXXX.
func (s *Scanner) hex4() (r rune, ok bool) {
	if s.Pos+6 > len(s.Text) || s.Text[s.Pos] != '\\' || s.Text[s.Pos+1] != 'u' {
		return 0, false
	}
	for _, c := range s.Text[s.Pos+2 : s.Pos+6] {
		i := strings.IndexByte("0123456789abcdef", c|0x20) // 0x20 makes letters lower case and leaves digits alone
		if i < 0 || c < '0' {
			return 0, false
		}
		r = r<<4 | rune(i)
	}
	s.Pos += 6
	return r, true
}

// Skip reads a value of any kind and forgets it.
func (s *Scanner) Skip(depth int) error {
	if depth > MaxDepth {
		return s.Errorf("more than %d levels of nesting", MaxDepth)
	}
	switch c := s.Peek(); {
	case c == '{':
		return s.Object(func([]byte) error { return s.Skip(depth + 1) })
	case c == '[':
		return s.Array(func() error { return s.Skip(depth + 1) })
	case c == '"':
		_, err := s.Str(nil)
		return err
	case c == '-' || isDigit(c):
		return s.number()
	case s.Literal("null"), s.Literal("true"), s.Literal("false"):
		return nil
	}
	return s.Errorf("expected a value, found %s", s.found())
}

// number skips a number: -?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?
func (s *Scanner) number() error {
	at := func(set string) bool {
		if s.Pos < len(s.Text) && strings.IndexByte(set, s.Text[s.Pos]) >= 0 {
			s.Pos++
			return true
		}
		return false
	}
	digits := func() bool {
		start := s.Pos
		for at("0123456789") {
		}
		return s.Pos > start
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
		return s.Errorf("broken number, found %s", s.found())
	}
	return nil
}

// Raw returns the bytes of the next value, whatever it is, having checked only its brackets and quotes.
func (s *Scanner) Raw() ([]byte, error) {
	s.Peek()
	start, depth := s.Pos, 0
	for s.Pos < len(s.Text) {
		switch s.Text[s.Pos] {
		case '"':
			if err := s.skipString(); err != nil {
				return nil, err
			}
			s.Pos--
		case '{', '[':
			if depth++; depth > MaxDepth {
				return nil, s.Errorf("nested too deeply")
			}
		case '}', ']', ',':
			if depth == 0 { // the end of a bare number or word
				if s.Pos == start {
					return nil, s.Errorf("expected a value")
				}
				return s.Text[start:s.Pos], nil
			}
			if s.Text[s.Pos] != ',' {
				depth--
			}
		}
		s.Pos++
		if depth == 0 && closes(s.Text[s.Pos-1]) {
			return s.Text[start:s.Pos], nil
		}
	}
	if depth > 0 || start == s.Pos {
		return nil, s.Errorf("unexpected end")
	}
	return s.Text[start:s.Pos], nil
}

func closes(c byte) bool { return c == '"' || c == '}' || c == ']' }

// skipString moves behind the string that starts at s.Pos, eight bytes a step.
func (s *Scanner) skipString() error {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	b, i := s.Text, s.Pos+1
	for i < len(b) {
		if i+8 <= len(b) {
			w := binary.LittleEndian.Uint64(b[i:])
			q, e := w^ones*'"', w^ones*'\\'
			if ((q-ones)&^q|(e-ones)&^e)&tops == 0 {
				i += 8
				continue
			}
		}
		for end := min(i+8, len(b)); i < end; i++ {
			if b[i] == '"' {
				s.Pos = i + 1
				return nil
			}
			if b[i] == '\\' {
				i++
			}
		}
	}
	s.Pos = len(b)
	return s.Errorf("the string has no end")
}
