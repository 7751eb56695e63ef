// Package jsongrammar says which bytes, and which tokens of a vocabulary, may follow in a text that must become JSON of
// a JSON Schema. It is a pushdown automaton over bytes: Compile makes it of a schema, a Matcher runs it along a text.
//
// The texts of a schema are those that its subset of JSON Schema allows (see Compile), written in any way that RFC 8259
// has, with these limits, which keep the automaton small and the texts readable by every parser:
//
//   - at most MaxSpace characters of white space in a row, none after the end
//   - at most MaxDepth objects and lists inside each other
//   - exponents of at most two digits, integers without point and exponent; numbers of enum and const as they stand in
//     the schema
//   - the escapes of a surrogate pair only together; keys of objects with named properties, and strings of enum and
//     const, with the escapes that JSON demands, in their shortest form
//
// Every prefix of such a text can be completed: the automaton has no dead ends.
package jsongrammar

import "sync"

// Limits of the texts.
const (
	MaxSpace = 64
	MaxDepth = 64
)

// kind is a kind of value.
type kind uint8

const (
	literal kind = iota // these bytes
	text                // a string
	number
	object
	list
	choice // one of several
)

// node is what a schema allows in one place. It does not change once its grammar is compiled.
type node struct {
	kind
	bytes    string  // of literal
	min, max int32   // characters of text, elements of list; max -1: any number
	integer  bool    // of number
	low      *int64  // of an integer: nil: no bound
	high     *int64  //
	options  []*node // of choice

	names      []trieNode // of object: the keys of its properties
	properties []property
	other      *node // of object: values of other properties; nil: there are none

	first []*node // of list: the values of its first elements
	items *node   // of list: those of further elements; nil: there are none

	height int32 // how many objects and lists, at least, are inside each other in a value; unbuilt: there is no value
}

// unbuilt is the height of a node without values.
const unbuilt = 1 << 20

// property is a named property of an object.
type property struct {
	name     string
	value    *node
	required bool
}

// trieNode is a node of the tree of an object's keys, byte by byte as they are written, without quotes. Element 0 is
// the root.
type trieNode struct {
	next     map[byte]int32
	property int32   // whose key ends here; -1: none
	below    []int32 // the properties whose keys go on from here or end here
}

// Grammar is a compiled schema. It may be used by many goroutines.
type Grammar struct {
	root *node
	bare bool // no white space before the text

	mu     sync.Mutex
	frames map[frame]*frame // each stack once, so that stacks can be compared by address
	masks  map[maskKey]mask
}

// AnyObject is the grammar of all JSON objects.
func AnyObject() *Grammar {
	b := newBuilder(nil)
	b.measure()
	return b.grammar(b.anyObject)
}

// Choices is the grammar of the given texts, which need not be JSON. None may be empty.
func Choices(texts []string) *Grammar {
	b := newBuilder(nil)
	root := b.node(node{kind: choice})
	for _, t := range texts {
		root.options = append(root.options, b.node(node{kind: literal, bytes: t}))
	}
	b.measure()
	g := b.grammar(root)
	g.bare = true
	return g
}
