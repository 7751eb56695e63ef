package jsongrammar

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/zerosearch-go/zerosearch/internal/jsonscan"
)

// Supported are the keywords of JSON Schema that Compile knows, besides those that only describe.
const Supported = "type, enum, const, properties, required, additionalProperties, items, prefixItems, minItems, " +
	"maxItems, minLength, maxLength, minimum, maximum, exclusiveMinimum, exclusiveMaximum, anyOf, oneOf, allOf, " +
	"$ref, $defs"

// descriptive are the keywords that do not change which values there are.
var descriptive = []string{"title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly",
	"$schema", "$id", "$comment", "$defs", "definitions", "discriminator"}

// ofType are the keywords that concern one type of values, with that type.
var ofType = map[string]string{"properties": "object", "required": "object", "additionalProperties": "object",
	"items": "array", "prefixItems": "array", "minItems": "array", "maxItems": "array", "minLength": "string",
	"maxLength": "string", "minimum": "integer", "maximum": "integer", "exclusiveMinimum": "integer",
	"exclusiveMaximum": "integer"}

// Compile makes the grammar of a JSON Schema (draft 2020-12), valid JSON without keys that are given twice. Other
// keywords than those of Supported are errors, and so are schemas that no value satisfies. What differs from the
// standard:
//
//   - without type it follows from the keywords: properties mean an object, items a list, maxLength a string
//   - an object with properties has no others unless additionalProperties allows them, and a list with prefixItems no
//     further elements without items (as OpenAI's and vLLM's servers have it)
//   - minimum and maximum are for integers; allOf has one element; oneOf's options must exclude each other
//   - enum, const, anyOf, oneOf, allOf and $ref have no other keywords beside them, except type beside enum and const
func Compile(schema []byte) (*Grammar, error) {
	b := newBuilder(bytes.TrimSpace(schema))
	root, err := b.schema(b.source, "#")
	if err != nil {
		return nil, err
	}
	if err := b.loops(); err != nil {
		return nil, err
	}
	b.measure()
	for _, check := range b.later {
		if err := check(); err != nil {
			return nil, err
		}
	}
	if !fits(root, 0) {
		return nil, fmt.Errorf("no value of at most %d levels satisfies the schema", MaxDepth)
	}
	return b.grammar(root), nil
}

// builder compiles a schema.
type builder struct {
	source    []byte
	nodes     []*node
	refs      map[string]*node // by $ref
	later     []func() error
	any       *node
	anyObject *node
}

func newBuilder(source []byte) *builder {
	b := &builder{source: source, refs: map[string]*node{}}
	b.any = b.node(node{kind: choice})
	b.anyObject = b.node(node{kind: object, other: b.any})
	anyList := b.node(node{kind: list, max: -1, items: b.any})
	b.any.options = []*node{b.anyObject, anyList, b.node(node{kind: text, max: -1}), b.node(node{kind: number}),
		b.literal("true"), b.literal("false"), b.literal("null")}
	return b
}

func (b *builder) grammar(root *node) *Grammar {
	return &Grammar{root: root, frames: map[frame]*frame{}, masks: map[maskKey]mask{}}
}

func (b *builder) node(n node) *node {
	n.height = unbuilt
	b.nodes = append(b.nodes, &n)
	return &n
}

func (b *builder) literal(text string) *node { return b.node(node{kind: literal, bytes: text}) }

// keywords are the keywords of a schema with their values, but for those that describe.
type keywords map[string]json.RawMessage

// beside are those in k that are not in allowed.
func (k keywords) beside(allowed ...string) (names []string) {
	for name := range k {
		if !slices.Contains(allowed, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// schema compiles the schema at a place of the source, which at names as a JSON pointer.
func (b *builder) schema(raw []byte, at string) (*node, error) {
	switch string(raw) {
	case "true":
		return b.any, nil
	case "false":
		return b.node(node{kind: choice}), nil
	}
	all, err := jsonscan.Members(raw)
	if err != nil {
		return nil, fmt.Errorf("%s is no schema: it must be an object, true or false", at)
	}
	k := keywords{}
	for _, m := range all {
		if !slices.Contains(descriptive, m.Key) {
			k[m.Key] = m.Raw
		}
	}
	for _, name := range k.beside("type", "enum", "const", "anyOf", "oneOf", "allOf", "$ref") {
		if ofType[name] == "" {
			return nil, fmt.Errorf("the keyword %q at %s is not supported: supported are %s", name, at, Supported)
		}
	}
	for _, name := range []string{"$ref", "anyOf", "oneOf", "allOf", "enum", "const"} {
		if _, ok := k[name]; !ok {
			continue
		}
		allowed := []string{name}
		if name == "enum" || name == "const" {
			allowed = append(allowed, "type")
		}
		if more := k.beside(allowed...); len(more) > 0 {
			return nil, fmt.Errorf("%s at %s has %s beside it, which is not supported: write the schema without it",
				name, at, strings.Join(more, ", "))
		}
		switch name {
		case "$ref":
			return b.ref(k[name], at)
		case "enum", "const":
			return b.values(k, name, at)
		}
		return b.options(k[name], name, at)
	}
	types, err := k.types(at)
	if err != nil {
		return nil, err
	}
	if len(types) == 0 {
		return b.any, nil
	}
	n := b.node(node{kind: choice})
	for _, t := range types {
		o, err := b.typed(k, t, at)
		if err != nil {
			return nil, err
		}
		n.options = append(n.options, o)
	}
	return n, nil
}

// types are the types that a schema allows; none: all.
func (k keywords) types(at string) (types []string, err error) {
	raw, ok := k["type"]
	var one string
	switch {
	case !ok:
		for name := range k {
			if t := ofType[name]; t != "" && !slices.Contains(types, t) {
				types = append(types, t)
			}
		}
		slices.Sort(types)
	case json.Unmarshal(raw, &one) == nil:
		types = []string{one}
	case json.Unmarshal(raw, &types) != nil || len(types) == 0:
		return nil, fmt.Errorf("type at %s must be a string or a list of strings", at)
	}
	for _, t := range types {
		if !slices.Contains([]string{"object", "array", "string", "number", "integer", "boolean", "null"}, t) {
			return nil, fmt.Errorf("type at %s is %q: the types are object, array, string, number, integer, boolean, "+
				"null", at, t)
		}
	}
	return types, nil
}

// typed compiles a schema for the values of one type.
func (b *builder) typed(k keywords, t, at string) (n *node, err error) {
	switch t {
	case "object":
		return b.object(k, at)
	case "array":
		return b.list(k, at)
	case "string":
		n = b.node(node{kind: text, max: -1})
		return n, k.sizes(n, "minLength", "maxLength", at)
	case "boolean":
		return b.node(node{kind: choice, options: []*node{b.literal("true"), b.literal("false")}}), nil
	case "null":
		return b.literal("null"), nil
	}
	n = b.node(node{kind: number, integer: t == "integer"})
	return n, k.bounds(n, at)
}

// sizes reads a smallest and a largest size.
func (k keywords) sizes(n *node, least, most, at string) error {
	for name, to := range map[string]*int32{least: &n.min, most: &n.max} {
		raw, ok := k[name]
		if !ok {
			continue
		}
		x, err := strconv.ParseFloat(string(raw), 64)
		if err != nil || x < 0 || x > math.MaxInt32 || x != math.Trunc(x) {
			return fmt.Errorf("%s at %s must be an integer from 0 to %d", name, at, math.MaxInt32)
		}
		*to = int32(x)
	}
	if n.max >= 0 && n.min > n.max {
		return fmt.Errorf("%s at %s is more than %s", least, at, most)
	}
	return nil
}

// bounds reads the bounds of an integer.
func (k keywords) bounds(n *node, at string) error {
	for _, name := range []string{"minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum"} {
		raw, ok := k[name]
		if !ok {
			continue
		}
		if !n.integer {
			return fmt.Errorf("%s at %s is not supported for numbers, only for integers", name, at)
		}
		x, err := strconv.ParseFloat(string(raw), 64)
		if err != nil || math.Abs(x) >= 1<<53 {
			return fmt.Errorf("%s at %s must be a number between -2^53 and 2^53", name, at)
		}
		upper := strings.HasSuffix(name, "aximum")
		bound := int64(math.Ceil(x))
		if upper {
			bound = int64(math.Floor(x))
		}
		if strings.HasPrefix(name, "ex") && float64(bound) == x {
			bound++
			if upper {
				bound -= 2
			}
		}
		switch {
		case upper && (n.high == nil || *n.high > bound):
			n.high = &bound
		case !upper && (n.low == nil || *n.low < bound):
			n.low = &bound
		}
	}
	if n.low != nil && n.high != nil && *n.low > *n.high {
		return fmt.Errorf("no integer lies between the bounds at %s", at)
	}
	return nil
}

// object compiles a schema of objects.
func (b *builder) object(k keywords, at string) (*node, error) {
	n := b.node(node{kind: object})
	var all []jsonscan.Member
	if raw, ok := k["properties"]; ok {
		var err error
		if all, err = jsonscan.Members(raw); err != nil {
			return nil, fmt.Errorf("properties at %s must be an object of schemas", at)
		}
	}
	if raw, ok := k["additionalProperties"]; ok {
		var err error
		if n.other, err = b.schema(raw, at+"/additionalProperties"); err != nil {
			return nil, err
		}
	} else if len(all) == 0 {
		n.other = b.any
	}
	for _, m := range all {
		value, err := b.schema(m.Raw, at+"/properties/"+m.Key)
		if err != nil {
			return nil, err
		}
		n.properties = append(n.properties, property{name: m.Key, value: value})
	}
	var required []string
	if raw, ok := k["required"]; ok && json.Unmarshal(raw, &required) != nil {
		return nil, fmt.Errorf("required at %s must be a list of strings", at)
	}
	for _, name := range required {
		i := slices.IndexFunc(n.properties, func(p property) bool { return p.name == name })
		if i < 0 { // it is among the others
			value := n.other
			if _, ok := k["additionalProperties"]; !ok {
				value = b.any
			}
			i, n.properties = len(n.properties), append(n.properties, property{name: name, value: value})
		}
		n.properties[i].required = true
	}
	n.index()
	return n, nil
}

// index makes the tree of an object's keys.
func (n *node) index() {
	if len(n.properties) == 0 {
		return
	}
	add := func() int32 {
		n.names = append(n.names, trieNode{next: map[byte]int32{}, property: -1})
		return int32(len(n.names) - 1)
	}
	add()
	for i, p := range n.properties {
		at := int32(0)
		n.names[at].below = append(n.names[at].below, int32(i))
		key := quoted(p.name)
		for _, c := range []byte(key[1 : len(key)-1]) {
			next, ok := n.names[at].next[c]
			if !ok {
				next = add()
				n.names[at].next[c] = next
			}
			at = next
			n.names[at].below = append(n.names[at].below, int32(i))
		}
		n.names[at].property = int32(i)
	}
}

// list compiles a schema of lists.
func (b *builder) list(k keywords, at string) (*node, error) {
	n := b.node(node{kind: list, max: -1})
	if raw, ok := k["prefixItems"]; ok {
		var all []json.RawMessage
		if json.Unmarshal(raw, &all) != nil {
			return nil, fmt.Errorf("prefixItems at %s must be a list of schemas", at)
		}
		for i, one := range all {
			item, err := b.schema(one, fmt.Sprintf("%s/prefixItems/%d", at, i))
			if err != nil {
				return nil, err
			}
			n.first = append(n.first, item)
		}
	}
	if raw, ok := k["items"]; ok {
		var err error
		if n.items, err = b.schema(raw, at+"/items"); err != nil {
			return nil, err
		}
	} else if len(n.first) == 0 {
		n.items = b.any
	}
	if err := k.sizes(n, "minItems", "maxItems", at); err != nil {
		return nil, err
	}
	if most := int32(len(n.first)); n.items == nil && (n.max < 0 || n.max > most) {
		if n.max = most; n.min > most {
			return nil, fmt.Errorf("minItems at %s is more than there are prefixItems: give items", at)
		}
	}
	return n, nil
}

// options compiles anyOf, oneOf and allOf.
func (b *builder) options(raw json.RawMessage, name, at string) (*node, error) {
	var all []json.RawMessage
	if json.Unmarshal(raw, &all) != nil || len(all) == 0 {
		return nil, fmt.Errorf("%s at %s must be a list of schemas", name, at)
	}
	if name == "allOf" && len(all) > 1 {
		return nil, fmt.Errorf("allOf at %s has %d schemas, but only one is supported: write them as one", at,
			len(all))
	}
	n := b.node(node{kind: choice})
	for i, one := range all {
		o, err := b.schema(one, fmt.Sprintf("%s/%s/%d", at, name, i))
		if err != nil {
			return nil, err
		}
		n.options = append(n.options, o)
	}
	if name == "oneOf" {
		b.later = append(b.later, func() error {
			for i, x := range n.options {
				for j, y := range n.options[:i] {
					if !apart(x, y) {
						return fmt.Errorf("oneOf at %s: a value may satisfy both option %d and option %d, which is not "+
							"supported: use anyOf, or a required property with different const values", at, j, i)
					}
				}
			}
			return nil
		})
	}
	return n, nil
}

// ref compiles the schema that a $ref names, once.
func (b *builder) ref(raw json.RawMessage, at string) (*node, error) {
	var name string
	if json.Unmarshal(raw, &name) != nil || name != "#" && !strings.HasPrefix(name, "#/") {
		return nil, fmt.Errorf("$ref at %s must begin with #: only schemas inside the schema can be referred to", at)
	}
	if n := b.refs[name]; n != nil {
		return n, nil
	}
	n := b.node(node{kind: choice})
	b.refs[name] = n
	target := b.source
	for _, key := range strings.Split(name, "/")[1:] {
		key = strings.NewReplacer("~1", "/", "~0", "~").Replace(key)
		var list []json.RawMessage
		if i, err := strconv.Atoi(key); err == nil && json.Unmarshal(target, &list) == nil && i >= 0 && i < len(list) {
			target = list[i]
			continue
		}
		all, _ := jsonscan.Members(target)
		i := slices.IndexFunc(all, func(m jsonscan.Member) bool { return m.Key == key })
		if i < 0 {
			return nil, fmt.Errorf("$ref at %s names %s, which the schema does not have", at, name)
		}
		target = all[i].Raw
	}
	o, err := b.schema(target, name)
	n.options = []*node{o}
	return n, err
}
