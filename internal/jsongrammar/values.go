package jsongrammar

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/zerosearch-go/zerosearch/internal/jsonscan"
)

// values compiles enum and const.
func (b *builder) values(k keywords, name, at string) (*node, error) {
	types, err := k.types(at)
	if err != nil {
		return nil, err
	}
	all := []json.RawMessage{k[name]}
	if name == "enum" && json.Unmarshal(k[name], &all) != nil {
		return nil, fmt.Errorf("enum at %s must be a list", at)
	}
	n := b.node(node{kind: choice})
	for _, raw := range all {
		if _, typed := k["type"]; typed && !slices.ContainsFunc(types, func(t string) bool { return isOf(raw, t) }) {
			continue
		}
		v, err := b.value(raw)
		if err != nil {
			return nil, fmt.Errorf("%s at %s: %w", name, at, err)
		}
		n.options = append(n.options, v)
	}
	if len(n.options) == 0 {
		return nil, fmt.Errorf("%s at %s has no value of the type", name, at)
	}
	return n, nil
}

// isOf reports whether a value has a type.
func isOf(raw json.RawMessage, t string) bool {
	switch raw[0] {
	case '{':
		return t == "object"
	case '[':
		return t == "array"
	case '"':
		return t == "string"
	case 't', 'f':
		return t == "boolean"
	case 'n':
		return t == "null"
	}
	x, err := strconv.ParseFloat(string(raw), 64)
	return t == "number" || t == "integer" && err == nil && x == math.Trunc(x)
}

// value compiles one value.
func (b *builder) value(raw json.RawMessage) (*node, error) {
	switch raw[0] {
	case '"':
		var s string
		if err := json.Unmarshal(raw, &s); err != nil {
			return nil, err
		}
		return b.literal(quoted(s)), nil
	case '[':
		var all []json.RawMessage
		if err := json.Unmarshal(raw, &all); err != nil {
			return nil, err
		}
		n := b.node(node{kind: list, min: int32(len(all)), max: int32(len(all))})
		for _, one := range all {
			v, err := b.value(one)
			if err != nil {
				return nil, err
			}
			n.first = append(n.first, v)
		}
		return n, nil
	case '{':
		all, err := jsonscan.Members(raw)
		if err != nil {
			return nil, err
		}
		n := b.node(node{kind: object})
		for _, m := range all {
			v, err := b.value(m.Raw)
			if err != nil {
				return nil, err
			}
			n.properties = append(n.properties, property{m.Key, v, true})
		}
		n.index()
		return n, nil
	}
	return b.literal(string(raw)), nil
}

// quoted is a string as JSON in its shortest spelling.
func quoted(s string) string {
	var out strings.Builder
	out.WriteByte('"')
	for _, r := range s {
		switch short := strings.IndexRune("\"\\\b\f\n\r\t", r); {
		case short >= 0:
			out.WriteByte('\\')
			out.WriteByte(`"\bfnrt`[short])
		case r < 0x20:
			fmt.Fprintf(&out, `\u%04x`, r)
		default:
			out.WriteRune(r)
		}
	}
	out.WriteByte('"')
	return out.String()
}
