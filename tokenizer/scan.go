package tokenizer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// scanner reads JSON in place. A tokenizer.json has two huge lists and otherwise small objects; reading the lists without building a tree
// keeps start-up short. It checks the syntax of the values that it reads; raw only finds the end of a value.
type scanner struct {
	b []byte
	i int
}

// maxDepth bounds the nesting of brackets in tokenizer.json.
const maxDepth = 200

func (s *scanner) fail(what string) error {
	return fmt.Errorf("bad JSON at byte %d: %s", s.i, what)
}

// peek skips white space and returns the next byte, 0 at the end.
func (s *scanner) peek() byte {
	for s.i < len(s.b) {
		switch c := s.b[s.i]; c {
		case ' ', '\n', '\t', '\r':
			s.i++
		default:
			return c
		}
	}
	return 0
}

func (s *scanner) expect(c byte) error {
	if s.peek() != c {
		return s.fail("expected " + strconv.QuoteRune(rune(c)))
	}
	s.i++
	return nil
}

// items calls item for each element between the brackets open and closing.
func (s *scanner) items(open, closing byte, item func() error) error {
	if err := s.expect(open); err != nil {
		return err
	}
	if s.peek() == closing {
		s.i++
		return nil
	}
	for {
		if err := item(); err != nil {
			return err
		}
		switch s.peek() {
		case ',':
			s.i++
		case closing:
			s.i++
			return nil
		default:
			return s.fail("expected ',' or " + strconv.QuoteRune(rune(closing)))
		}
	}
}

func (s *scanner) array(item func() error) error { return s.items('[', ']', item) }

// object calls member with each key; member must consume the value. The key is only valid during the call.
func (s *scanner) object(member func(key []byte) error) error {
	var scratch []byte
	return s.items('{', '}', func() error {
		key, err := s.str(scratch[:0])
		if err != nil {
			return err
		}
		if err := s.expect(':'); err != nil {
			return err
		}
		return member(key)
	})
}

// str reads a string. Without escapes the result is a slice of the input; otherwise it is appended to buf.
func (s *scanner) str(buf []byte) ([]byte, error) {
	if err := s.expect('"'); err != nil {
		return nil, err
	}
	b, start := s.b, s.i
	for i := start; i < len(b); i++ {
		switch c := b[i]; {
		case c == '"':
			s.i = i + 1
			return b[start:i], nil
		case c == '\\':
			s.i = i
			return s.escaped(append(buf, b[start:i]...))
		case c < ' ':
			s.i = i
			return nil, s.fail("control character in a string")
		}
	}
	s.i = len(b)
	return nil, s.fail("unterminated string")
}

// escaped reads on from the first backslash.
func (s *scanner) escaped(buf []byte) ([]byte, error) {
	for s.i < len(s.b) {
		c := s.b[s.i]
		switch {
		case c == '"':
			s.i++
			return buf, nil
		case c < ' ':
			return nil, s.fail("control character in a string")
		case c != '\\':
			buf = append(buf, c)
			s.i++
			continue
		}
		if s.i+1 >= len(s.b) {
			break
		}
		e := s.b[s.i+1]
		s.i += 2
		switch e {
		case '"', '\\', '/':
			buf = append(buf, e)
		case 'b':
			buf = append(buf, '\b')
		case 'f':
			buf = append(buf, '\f')
		case 'n':
			buf = append(buf, '\n')
		case 'r':
			buf = append(buf, '\r')
		case 't':
			buf = append(buf, '\t')
		case 'u':
			r, err := s.unicode()
			if err != nil {
				return nil, err
			}
			buf = utf8.AppendRune(buf, r)
		default:
			return nil, s.fail("unknown escape")
		}
	}
	return nil, s.fail("unterminated string")
}

// unicode reads the digits of \uXXXX, and the second half of a surrogate pair.
func (s *scanner) unicode() (rune, error) {
	hex := func() (rune, bool) {
		if s.i+4 > len(s.b) {
			return 0, false
		}
		v, err := strconv.ParseUint(string(s.b[s.i:s.i+4]), 16, 32)
		s.i += 4
		return rune(v), err == nil
	}
	r, ok := hex()
	if ok && utf16.IsSurrogate(r) {
		if ok = s.i+6 <= len(s.b) && s.b[s.i] == '\\' && s.b[s.i+1] == 'u'; ok {
			s.i += 2
			var low rune
			if low, ok = hex(); ok {
				r = utf16.DecodeRune(r, low)
				ok = r != utf8.RuneError
			}
		}
	}
	if !ok {
		return 0, s.fail("bad \\u escape")
	}
	return r, nil
}

// integer reads a number without fraction or exponent.
func (s *scanner) integer() (int, error) {
	s.peek()
	start := s.i
	for s.i < len(s.b) && (s.b[s.i] == '-' || s.b[s.i]-'0' <= 9) {
		s.i++
	}
	n, err := strconv.Atoi(string(s.b[start:s.i]))
	if err != nil {
		return 0, s.fail("expected an integer")
	}
	return n, nil
}

// raw returns the bytes of the next value of any type. It checks only brackets and quotes.
func (s *scanner) raw() ([]byte, error) {
	s.peek()
	start, depth := s.i, 0
	for s.i < len(s.b) {
		switch s.b[s.i] {
		case '"':
			if err := s.skipString(); err != nil {
				return nil, err
			}
			s.i--
		case '{', '[':
			if depth++; depth > maxDepth {
				return nil, s.fail("nested too deeply")
			}
		case '}', ']', ',':
			if depth == 0 { // the end of a bare number or word
				if s.i == start {
					return nil, s.fail("expected a value")
				}
				return s.b[start:s.i], nil
			}
			if s.b[s.i] != ',' {
				depth--
			}
		}
		s.i++
		if depth == 0 && closes(s.b[s.i-1]) {
			return s.b[start:s.i], nil
		}
	}
	if depth > 0 || start == s.i {
		return nil, s.fail("unexpected end")
	}
	return s.b[start:s.i], nil
}

func closes(c byte) bool { return c == '"' || c == '}' || c == ']' }

// skipString moves to the end of the string that starts at s.i, eight bytes a step.
func (s *scanner) skipString() error {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	b, i := s.b, s.i+1
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
				s.i = i + 1
				return nil
			}
			if b[i] == '\\' {
				i++
			}
		}
	}
	s.i = len(b)
	return errors.New("unterminated string")
}
