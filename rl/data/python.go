package data

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// pythonList reads a list, a tuple or a set of texts and numbers as Python prints it: ['a', "b's", 3, None]. None is
// left out. A single element in round brackets without a comma is no tuple.
func pythonList(s string) (items []string, ok bool) {
	closing := map[byte]byte{'[': ']', '(': ')', '{': '}'}
	if s == "" || closing[s[0]] == 0 {
		return nil, false
	}
	end := closing[s[0]]
	rest, commas := strings.TrimSpace(s[1:]), 0
	for rest != "" && rest[0] != end {
		var item string
		quoted := rest[0] == '\'' || rest[0] == '"'
		if quoted {
			if item, rest, ok = pythonString(rest); !ok {
				return nil, false
			}
		} else {
			n := strings.IndexAny(rest, ","+string(end))
			if n < 0 {
				return nil, false
			}
			item, rest = strings.TrimSpace(rest[:n]), rest[n:]
			_, err := strconv.ParseFloat(item, 64)
			if err != nil && item != "True" && item != "False" && item != "None" {
				return nil, false
			}
		}
		if quoted || item != "None" {
			items = append(items, item)
		}
		rest = strings.TrimSpace(rest)
		if strings.HasPrefix(rest, ",") {
			rest, commas = strings.TrimSpace(rest[1:]), commas+1
		} else if rest == "" || rest[0] != end {
			return nil, false
		}
	}
	return items, rest == string(end) && (end != ')' || commas > 0)
}

// pythonString reads a Python string literal at the beginning of s; rest is the text after it.
func pythonString(s string) (text, rest string, ok bool) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == s[0]:
			return b.String(), s[i+1:], true
		case c == '\\' && i+1 < len(s):
			r, n := pythonEscape(s[i+1:])
			b.WriteString(r)
			i += n
		default:
			b.WriteByte(c)
		}
	}
	return "", "", false
}

// pythonEscape reads the n bytes of an escape sequence after its backslash. Like Python it keeps the backslash of an
// unknown escape sequence.
func pythonEscape(s string) (text string, n int) {
	if digits := map[byte]int{'x': 2, 'u': 4, 'U': 8}[s[0]]; digits > 0 && len(s) > digits {
		if v, err := strconv.ParseUint(s[1:1+digits], 16, 32); err == nil && utf8.ValidRune(rune(v)) {
			return string(rune(v)), 1 + digits
		}
	}
	if at := strings.IndexByte("nrt\\'\"", s[0]); at >= 0 {
		return "\n\r\t\\'\""[at : at+1], 1
	}
	return "\\" + s[:1], 1
}
