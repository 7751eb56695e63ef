// Package pyjson reads JSON as Python's json module writes it, with the numbers NaN, Infinity and -Infinity. They are
// not standard JSON, and encoding/json refuses them.
package pyjson

import (
	"bytes"
	"encoding/json"
	"strings"
)

// NonFinite is one NaN, Infinity or -Infinity of a text.
type NonFinite struct {
	Path       string // the keys that lead to it, joined by dots: "rope_parameters.factor"
	Value      string // NaN, Infinity or -Infinity
	Start, End int    // byte offsets in the text
}

var literals = []string{"NaN", "Infinity", "-Infinity"}

// Find lists NaN, Infinity and -Infinity in data, in order. It ignores strings.
func Find(data []byte) (found []NonFinite) {
	if !bytes.Contains(data, []byte("NaN")) && !bytes.Contains(data, []byte("Infinity")) {
		return nil
	}
	var path []string // the key of every open object and list, "" for an element of a list
	key := ""
	for i := 0; i < len(data); i++ {
		switch c := data[i]; c {
		case '"':
			end := stringEnd(data, i)
			if rest := bytes.TrimLeft(data[end:], " \t\r\n"); len(rest) > 0 && rest[0] == ':' {
				key = unquote(data[i:end])
			}
			i = end - 1
		case '{', '[':
			path, key = append(path, key), ""
		case '}', ']':
			if len(path) > 0 {
				path = path[:len(path)-1]
			}
			key = ""
		case 'N', 'I', '-':
			if v := literalAt(data, i); v != "" {
				found = append(found, NonFinite{joined(path, key), v, i, i + len(v)})
				i += len(v) - 1
			}
		}
	}
	return found
}

// Standard converts data to standard JSON: null replaces NaN, Infinity and -Infinity. Without any, it returns data
// itself.
func Standard(data []byte) []byte {
	found := Find(data)
	if len(found) == 0 {
		return data
	}
	var out []byte
	done := 0
	for _, f := range found {
		out = append(append(out, data[done:f.Start]...), "null"...)
		done = f.End
	}
	return append(out, data[done:]...)
}

// stringEnd is the offset after the string that begins at i.
func stringEnd(data []byte, i int) int {
	for i++; i < len(data); i++ {
		switch data[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(data)
}

func unquote(text []byte) string {
	var s string
	_ = json.Unmarshal(text, &s) // an invalid string gives an error when the text is decoded
	return s
}

// literalAt is the literal that begins at i, "" if there is none. Delimiters must surround it.
func literalAt(data []byte, i int) string {
	for _, v := range literals {
		if bytes.HasPrefix(data[i:], []byte(v)) && delimits(data, i-1) && delimits(data, i+len(v)) {
			return v
		}
	}
	return ""
}

func delimits(data []byte, i int) bool {
	return i < 0 || i >= len(data) || strings.IndexByte(" \t\r\n,:[]{}", data[i]) >= 0
}

func joined(path []string, key string) string {
	var keys []string
	for _, k := range append(path[:len(path):len(path)], key) {
		if k != "" {
			keys = append(keys, k)
		}
	}
	return strings.Join(keys, ".")
}
