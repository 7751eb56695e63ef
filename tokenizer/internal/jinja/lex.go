package jinja

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Token types. Operators and brackets have their own text as value.
type tokenType uint8

const (
	tokEnd      tokenType = iota // of the template
	tokData                      // text outside of tags
	tokBlock                     // {%
	tokBlockEnd                  // %}
	tokPrint                     // {{
	tokPrintEnd                  // }}
	tokName
	tokString
	tokInt
	tokFloat
	tokOp
)

type token struct {
	typ  tokenType
	text string // of a string its value
	line int
}

// lexer cuts a template into tokens, with trim_blocks and lstrip_blocks on, as chat templates are rendered.
type lexer struct {
	src       string
	i         int
	line      int
	lineStart bool // what was consumed last ended a line
	out       []token
}

func syntaxError(line int, format string, args ...any) error {
	return fmt.Errorf("line %d: %s", line, fmt.Sprintf(format, args...))
}

func lex(src string) ([]token, error) {
	src = strings.ReplaceAll(strings.ReplaceAll(src, "\r\n", "\n"), "\r", "\n")
	l := &lexer{src: strings.TrimSuffix(src, "\n"), line: 1, lineStart: true}
	for l.i < len(l.src) {
		if err := l.data(); err != nil {
			return nil, err
		}
	}
	l.emit(tokEnd, "")
	return l.out, nil
}

func (l *lexer) emit(typ tokenType, text string) {
	l.out = append(l.out, token{typ, text, l.line})
}

// skip consumes n bytes.
func (l *lexer) skip(n int) {
	s := l.src[l.i : l.i+n]
	l.line += strings.Count(s, "\n")
	l.lineStart = strings.HasSuffix(s, "\n")
	l.i += n
}

func (l *lexer) rest() string { return l.src[l.i:] }

// data consumes text and the tag behind it.
func (l *lexer) data() error {
	rest := l.rest()
	at := nextTag(rest)
	if at < 0 {
		l.emit(tokData, rest)
		l.skip(len(rest))
		return nil
	}
	opening := rest[at : at+2]
	sign := byte(0)
	if at+2 < len(rest) && (rest[at+2] == '-' || rest[at+2] == '+') {
		sign = rest[at+2]
	}
	if text := l.before(rest[:at], sign, opening != "{{"); text != "" {
		l.emit(tokData, text)
	}
	l.skip(at + 2)
	if sign != 0 {
		l.skip(1)
	}
	switch opening {
	case "{#":
		return l.comment()
	case "{{":
		l.emit(tokPrint, "{{")
		return l.code("}}", tokPrintEnd)
	}
	if n := rawTag(l.rest(), "raw", false); n > 0 {
		l.skip(n)
		return l.raw()
	}
	l.emit(tokBlock, "{%")
	return l.code("%}", tokBlockEnd)
}

func nextTag(s string) int {
	for i := 0; i+1 < len(s); i++ {
		if s[i] == '{' && (s[i+1] == '{' || s[i+1] == '%' || s[i+1] == '#') {
			return i
		}
	}
	return -1
}

// before is the text in front of a tag: without its trailing white space under a '-'; without the indentation of a tag
// that begins its line if the tag is no print tag and has no '+'.
func (l *lexer) before(text string, sign byte, strip bool) string {
	if sign == '-' {
		return strings.TrimRightFunc(text, isSpace)
	}
	if sign == 0 && strip {
		start := strings.LastIndexByte(text, '\n') + 1
		if (start > 0 || l.lineStart) && strings.TrimFunc(text[start:], isSpace) == "" {
			return text[:start]
		}
	}
	return text
}

// closing measures a tag's end at the start of s, with the white space that belongs to it; 0 if it is not there.
func closing(s, end string, trim bool) int {
	n := 0
	if strings.HasPrefix(s, "-") || strings.HasPrefix(s, "+") {
		n = 1
	}
	if !strings.HasPrefix(s[n:], end) {
		return 0
	}
	n += len(end)
	if s[0] == '-' {
		return len(s) - len(strings.TrimLeftFunc(s[n:], isSpace))
	}
	if s[0] != '+' && trim && strings.HasPrefix(s[n:], "\n") {
		n++
	}
	return n
}

func (l *lexer) comment() error {
	end := strings.Index(l.rest(), "#}")
	if end < 0 {
		return syntaxError(l.line, "a comment is not closed")
	}
	if end > 0 && (l.rest()[end-1] == '-' || l.rest()[end-1] == '+') {
		end--
	}
	l.skip(end)
	l.skip(closing(l.rest(), "#}", true))
	return nil
}

// rawTag measures "raw %}" or, with its opening, "{% endraw %}".
func rawTag(s, name string, opening bool) int {
	total := len(s)
	if opening {
		s = strings.TrimPrefix(s, "{%")
		if s != "" && (s[0] == '-' || s[0] == '+') {
			s = s[1:]
		}
	}
	s = strings.TrimLeftFunc(s, isSpace)
	if !strings.HasPrefix(s, name) {
		return 0
	}
	s = strings.TrimLeftFunc(s[len(name):], isSpace)
	n := closing(s, "%}", opening)
	if n == 0 {
		return 0
	}
	return total - len(s) + n
}

func (l *lexer) raw() error {
	rest := l.rest()
	for at := 0; at < len(rest); at++ {
		next := strings.Index(rest[at:], "{%")
		if next < 0 {
			break
		}
		at += next
		if n := rawTag(rest[at:], "endraw", true); n > 0 {
			sign := rest[at+2]
			if sign != '-' && sign != '+' {
				sign = 0
			}
			if text := l.before(rest[:at], sign, true); text != "" {
				l.emit(tokData, text)
			}
			l.skip(at + n)
			return nil
		}
	}
	return syntaxError(l.line, "a raw block is not closed")
}

// operators, the longer ones first.
var operators = []string{"//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}",
	">", "<", "=", ".", ":", "|", ",", ";"}

// code consumes the inside of a tag and its end.
func (l *lexer) code(end string, endType tokenType) error {
	depth, start := 0, l.line
	for l.i < len(l.src) {
		rest := l.rest()
		if depth == 0 {
			if n := closing(rest, end, end == "%}"); n > 0 {
				l.emit(endType, end)
				l.skip(n)
				return nil
			}
		}
		r, size := utf8.DecodeRuneInString(rest)
		switch {
		case isSpace(r):
			l.skip(size)
		case r == '\'' || r == '"':
			if err := l.string(rest); err != nil {
				return err
			}
		case r >= '0' && r <= '9':
			l.number(rest)
		case r == '_' || unicode.IsLetter(r):
			n := strings.IndexFunc(rest, func(r rune) bool {
				return r != '_' && !unicode.IsLetter(r) &&
					!unicode.IsDigit(r)
			})
			if n < 0 {
				n = len(rest)
			}
			l.emit(tokName, rest[:n])
			l.skip(n)
		default:
			op := operator(rest)
			switch op {
			case "":
				return syntaxError(l.line, "unexpected character %q", r)
			case "(", "[", "{":
				depth++
			case ")", "]", "}":
				if depth--; depth < 0 {
					return syntaxError(l.line, "unexpected %q", op)
				}
			}
			l.emit(tokOp, op)
			l.skip(len(op))
		}
	}
	return syntaxError(start, "a tag is not closed")
}

func operator(s string) string {
	for _, op := range operators {
		if strings.HasPrefix(s, op) {
			return op
		}
	}
	return ""
}

// number consumes 12, 1_000, 1.5, 2e-3. A dot must be followed by a digit: 1.x is an attribute.
func (l *lexer) number(s string) {
	digits := func(i int) int {
		for i < len(s) && (s[i] >= '0' && s[i] <= '9' || s[i] == '_') {
			i++
		}
		return i
	}
	isDigit := func(i int) bool { return i < len(s) && s[i] >= '0' && s[i] <= '9' }
	n, typ := digits(0), tokInt
	if n < len(s) && s[n] == '.' && isDigit(n+1) {
		n, typ = digits(n+1), tokFloat
	}
	if n < len(s) && (s[n] == 'e' || s[n] == 'E') {
		k := n + 1
		if k < len(s) && (s[k] == '+' || s[k] == '-') {
			k++
		}
		if isDigit(k) {
			n, typ = digits(k), tokFloat
		}
	}
	l.emit(typ, strings.ReplaceAll(s[:n], "_", ""))
	l.skip(n)
}

// string consumes a quoted string with Python's escapes; an unknown escape keeps its backslash.
func (l *lexer) string(s string) error {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch c := s[i]; c {
		case s[0]:
			l.emit(tokString, b.String())
			l.skip(i + 1)
			return nil
		case '\\':
			if i+1 == len(s) {
				break
			}
			i++
			i += escape(&b, s[i:]) - 1
		default:
			b.WriteByte(c)
		}
	}
	return syntaxError(l.line, "a string is not closed")
}

var simpleEscapes = map[byte]string{'n': "\n", 't': "\t", 'r': "\r", '\\': "\\", '\'': "'", '"': `"`, 'a': "\a",
	'b': "\b", 'f': "\f", 'v': "\v", '\n': ""}

// escape writes what the escape behind a backslash stands for, and returns its length.
func escape(b *strings.Builder, s string) int {
	if plain, ok := simpleEscapes[s[0]]; ok {
		b.WriteString(plain)
		return 1
	}
	digits := map[byte]int{'x': 2, 'u': 4, 'U': 8}[s[0]]
	if digits > 0 && len(s) > digits {
		if v, err := strconv.ParseUint(s[1:1+digits], 16, 32); err == nil && v <= unicode.MaxRune {
			b.WriteRune(rune(v))
			return 1 + digits
		}
	}
	if n := octal(s); n > 0 {
		v, _ := strconv.ParseUint(s[:n], 8, 32)
		b.WriteRune(rune(v))
		return n
	}
	b.WriteByte('\\')
	b.WriteByte(s[0])
	return 1
}

func octal(s string) int {
	n := 0
	for n < 3 && n < len(s) && s[n] >= '0' && s[n] <= '7' {
		n++
	}
	return n
}

// isSpace is Python's str.isspace: White_Space and the four separators U+001C to U+001F.
func isSpace(r rune) bool { return unicode.IsSpace(r) || r >= 0x1C && r <= 0x1F }
