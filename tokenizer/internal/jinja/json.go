package jinja

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// maxNesting bounds the depth of values.
const maxNesting = 200

// FromJSON reads a JSON value. Dicts keep the order of keys, and integers their digits.
func FromJSON(text []byte) (Value, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	v, err := fromTokens(d, 0)
	if err != nil {
		return nil, fmt.Errorf("reading JSON: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("reading JSON: something behind the value")
	}
	return v, nil
}

func fromTokens(d *json.Decoder, depth int) (Value, error) {
	t, err := d.Token()
	if err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	switch t := t.(type) {
	case json.Number:
		return fromNumber(string(t)), nil
	case json.Delim:
		if depth++; depth > maxNesting {
			return nil, fmt.Errorf("nested more than %d deep", maxNesting)
		}
		if t == '[' {
			list := &List{}
			for d.More() {
				v, err := fromTokens(d, depth)
				if err != nil {
					return nil, err
				}
				list.Items = append(list.Items, v)
			}
			_, err = d.Token()
			return list, err
		}
		dict := &Dict{}
		for d.More() {
			key, err := d.Token()
			if err != nil {
				return nil, err
			}
			v, err := fromTokens(d, depth)
			if err != nil {
				return nil, err
			}
			dict.Set(key.(string), v) // the decoder lets nothing else pass as a key
		}
		_, err = d.Token()
		return dict, err
	}
	if s, ok := t.(string); ok {
		return Text{s: s}, nil
	}
	return t, nil // nil or bool
}

func fromNumber(s string) Value {
	if strings.ContainsAny(s, ".eE") {
		f, _ := strconv.ParseFloat(s, 64) // out of range: an infinity, as in Python
		return f
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return n
	}
	return BigInt(s)
}

// FromGo converts a Go value: what encoding/json can write. Maps come in the order of their keys.
func FromGo(v any) (Value, error) {
	switch v := v.(type) {
	case nil, bool, int64, float64, Text, *List, *Dict:
		return v, nil
	case string:
		return Text{s: v}, nil
	case int:
		return int64(v), nil
	}
	text, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return FromJSON(text)
}

// jsonWriter is Python's json.dumps.
type jsonWriter struct {
	e                 *env
	b                 textBuilder
	indent            string // of a level; with pretty
	pretty, ascii     bool
	sorted            bool
	itemSep, colonSep string
}

func (w *jsonWriter) value(v Value, depth int) {
	w.e.spend(1)
	if depth > maxNesting {
		w.e.fail("a value is nested more than %d deep", maxNesting)
	}
	switch v := v.(type) {
	case nil:
		w.b.plain("null")
	case bool:
		w.b.plain(strconv.FormatBool(v))
	case float64:
		w.b.plain(formatFloat(v, "Infinity", "NaN"))
	case Text:
		w.string(v)
	case *List:
		w.group("[", "]", len(v.Items), depth, func(i int) { w.value(v.Items[i], depth+1) })
	case *Dict:
		keys := v.Keys
		if w.sorted {
			keys = slices.Sorted(slices.Values(keys))
		}
		w.group("{", "}", len(keys), depth, func(i int) {
			w.string(v.key(keys[i]))
			w.b.plain(w.colonSep)
			w.value(v.values[keys[i]], depth+1)
		})
	case int64, BigInt:
		w.b.write(w.e.str(v))
	default:
		w.e.fail("%s cannot be written as JSON", kind(v))
	}
}

func (w *jsonWriter) group(opening, closing string, n, depth int, item func(i int)) {
	w.b.plain(opening)
	for i := range n {
		if i > 0 {
			w.b.plain(w.itemSep)
		}
		w.newline(depth + 1)
		item(i)
	}
	if n > 0 {
		w.newline(depth)
	}
	w.b.plain(closing)
}

func (w *jsonWriter) newline(depth int) {
	if w.pretty {
		w.e.allocate(1 + depth*len(w.indent))
		w.b.plain("\n" + strings.Repeat(w.indent, depth))
	}
}

func (w *jsonWriter) string(t Text) {
	w.e.allocate(len(t.s))
	w.b.plain(`"`)
	t.eachRune(func(r rune, char Text) {
		switch {
		case r == '"' || r == '\\':
			w.b.plain(`\`)
			w.b.write(char)
		case r == '\n':
			w.b.plain(`\n`)
		case r == '\r':
			w.b.plain(`\r`)
		case r == '\t':
			w.b.plain(`\t`)
		case r == '\b':
			w.b.plain(`\b`)
		case r == '\f':
			w.b.plain(`\f`)
		case r < ' ' || w.ascii && r >= 0x7F && r < 0x10000:
			w.b.plain(`\u` + hex(uint64(r), 4))
		case w.ascii && r >= 0x10000:
			r -= 0x10000
			w.b.plain(`\u` + hex(uint64(0xD800+r>>10), 4) + `\u` + hex(uint64(0xDC00+r&0x3FF), 4))
		default:
			w.b.write(char)
		}
	})
	w.b.plain(`"`)
}
