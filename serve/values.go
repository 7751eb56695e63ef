package serve

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"
	"unicode/utf8"

	"github.com/zerosearch-go/zerosearch/internal/jsonscan"
)

// member is a key of a JSON object with its unparsed value.
type member struct {
	key string
	raw json.RawMessage
}

// members are the members of an object, in order; false if raw, which must be valid JSON, is not an object.
func members(raw json.RawMessage) ([]member, bool) {
	found, err := jsonscan.Members(raw)
	if err != nil {
		return nil, false
	}
	all := make([]member, len(found))
	for i, m := range found {
		all[i] = member{m.Key, m.Raw}
	}
	return all, true
}

// toObject writes an object with these members, in order.
func toObject(all []member) json.RawMessage {
	out := []byte{'{'}
	for i, m := range all {
		if i > 0 {
			out = append(out, ',')
		}
		key, _ := json.Marshal(m.key) // never fails for a string
		out = append(append(append(out, key...), ':'), m.raw...)
	}
	return append(out, '}')
}

// elements are the elements of a list; false if raw is not a list.
func elements(raw json.RawMessage) ([]json.RawMessage, bool) {
	var all []json.RawMessage
	return all, kind(raw) == "list" && json.Unmarshal(raw, &all) == nil
}

// kind is the type of a JSON value, from its first byte.
func kind(raw json.RawMessage) string {
	if len(raw) == 0 {
		return "nothing"
	}
	switch raw[0] {
	case '{':
		return "object"
	case '[':
		return "list"
	case '"':
		return "string"
	case 't', 'f':
		return "boolean"
	case 'n':
		return "null"
	}
	return "number"
}

// integer reads an integer, also one written as 12.0 or 1.2e1; then only below 2^53, where float64 is exact.
func integer(raw json.RawMessage) (int64, bool) {
	if kind(raw) != "number" {
		return 0, false
	}
	if n, err := strconv.ParseInt(string(raw), 10, 64); err == nil {
		return n, true
	}
	x, err := strconv.ParseFloat(string(raw), 64)
	if err != nil || x != math.Trunc(x) || math.Abs(x) >= 1<<53 {
		return 0, false
	}
	return int64(x), true
}

// unquote reads a string.
func unquote(raw json.RawMessage) (s string, ok bool) {
	return s, kind(raw) == "string" && json.Unmarshal(raw, &s) == nil
}

// value is the value of a parameter in a request.
type value struct {
	name string
	raw  json.RawMessage
}

// wrong is the error of a value that has the wrong type.
func (v value) wrong(want string) *apiError {
	e := bad(v.name, "%s must be %s, not %s", v.name, want, v.shown())
	e.Code = "invalid_type"
	return e
}

// shown is the value as error messages show it; only its type if it is long.
func (v value) shown() string {
	if len(v.raw) <= 40 && kind(v.raw) != "object" && kind(v.raw) != "list" {
		return string(v.raw)
	}
	return map[string]string{
		"object": "an object", "list": "a list", "string": "a long string", "number": "a long number"}[kind(v.raw)]
}

func (v value) bool(to *bool) error {
	if kind(v.raw) != "boolean" {
		return v.wrong("true or false")
	}
	*to = v.raw[0] == 't'
	return nil
}

func (v value) int(to *int64) (err error) {
	n, ok := integer(v.raw)
	if *to = n; !ok {
		return v.wrong("an integer")
	}
	return nil
}

func (v value) number(to *float64) error {
	x, err := strconv.ParseFloat(string(v.raw), 64)
	if *to = x; kind(v.raw) != "number" || err != nil {
		return v.wrong("a number")
	}
	return nil
}

func (v value) text(to *string) error {
	s, ok := unquote(v.raw)
	if *to = s; !ok {
		return v.wrong("a string")
	}
	return nil
}

// texts reads a string or a list of strings.
func (v value) texts(to *[]string) error {
	if s, ok := unquote(v.raw); ok {
		*to = []string{s}
		return nil
	}
	all, ok := elements(v.raw)
	*to = []string{}
	for _, x := range all {
		s, isText := unquote(x)
		*to, ok = append(*to, s), ok && isText
	}
	if !ok {
		return v.wrong("a string or a list of strings")
	}
	return nil
}

// ids reads a list of token ids.
func (v value) ids(to *[]int32) error {
	ids, ok := tokenIDs(v.raw)
	if *to = ids; !ok {
		return v.wrong("a list of token ids")
	}
	return nil
}

// tokenIDs reads a list of token ids. It does not check them against a vocabulary.
func tokenIDs(raw json.RawMessage) ([]int32, bool) {
	all, ok := elements(raw)
	ids := make([]int32, len(all))
	for i, x := range all {
		n, whole := integer(x)
		ok = ok && whole && n >= math.MinInt32 && n <= math.MaxInt32
		ids[i] = int32(n)
	}
	return ids, ok
}

// document checks that body is one JSON object in which no object, at any depth, has a key twice. It returns its
// members.
func document(body []byte) ([]member, error) {
	if !utf8.Valid(body) {
		return nil, bad("", "the request is not valid UTF-8")
	}
	body = bytes.TrimSpace(body)
	if !bytes.HasPrefix(body, []byte("{")) {
		return nil, bad("", "the request is not a JSON object")
	}
	var whole json.RawMessage
	if err := json.Unmarshal(body, &whole); err != nil { // also limits the depth
		return nil, bad("", "the request is not valid JSON: %v", err)
	}
	all, _ := members(whole)
	seen := map[string]bool{}
	for _, m := range all {
		twice := m.key
		if !seen[m.key] {
			twice = ""
			if bytes.IndexByte(m.raw, '{') >= 0 {
				twice = repeated(json.NewDecoder(bytes.NewReader(m.raw)))
			}
		}
		if twice != "" {
			return nil, bad(m.key, "the key %q is given twice: give it once", twice)
		}
		seen[m.key] = true
	}
	return all, nil
}

// repeated is the first key that an object in the next value has twice, or "". An empty key may repeat.
func repeated(d *json.Decoder) string {
	t, err := d.Token()
	if err != nil {
		return ""
	}
	switch t {
	case json.Delim('['):
		for d.More() {
			if key := repeated(d); key != "" {
				return key
			}
		}
		_, _ = d.Token()
	case json.Delim('{'):
		seen := map[string]bool{}
		for d.More() {
			t, _ := d.Token()
			key, _ := t.(string)
			if seen[key] {
				return key
			}
			seen[key] = true
			if key := repeated(d); key != "" {
				return key
			}
		}
		_, _ = d.Token()
	}
	return ""
}
