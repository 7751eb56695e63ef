package jinja

import (
	"math"
	"strconv"
	"strings"
	"unicode"
)

// A Value is what a template computes with. Its dynamic type is one of nil (None), Undefined, bool, int64, BigInt,
// float64, Text, *List, *Dict, or something callable made inside this package. Values other than namespaces never
// change.
type Value any

// Undefined is the value of a name or key that is not there. It prints as nothing and is false; most other uses are
// errors.
type Undefined struct{ Name string }

// BigInt is a decimal integer that does not fit an int64; it can only be printed and compared.
type BigInt string

// List is a Python list or tuple.
type List struct {
	Items []Value
	tuple bool
}

// Dict is a Python dict with string keys, in the order of insertion.
type Dict struct {
	Keys    []string
	values  map[string]Value
	tainted bool // its keys are marked, as Text is
}

// key is a key as a template sees it.
func (d *Dict) key(k string) Text { return marked(k, d.tainted) }

// Get returns the value of a key.
func (d *Dict) Get(key string) (Value, bool) {
	v, ok := d.values[key]
	return v, ok
}

// Set adds or replaces a key, which keeps its place.
func (d *Dict) Set(key string, v Value) {
	if d.values == nil {
		d.values = map[string]Value{}
	}
	if _, ok := d.values[key]; !ok {
		d.Keys = append(d.Keys, key)
	}
	d.values[key] = v
}

// namespace is the one mutable object: {% set ns.x = 1 %}.
type namespace struct{ Dict }

// function is a macro, a global function or a bound method.
type function struct {
	name string
	call func(e *env, args []Value, named *Dict) Value
}

func truth(v Value) bool {
	switch v := v.(type) {
	case nil, Undefined:
		return false
	case bool:
		return v
	case int64:
		return v != 0
	case float64:
		return v != 0
	case Text:
		return v.s != ""
	case *List:
		return len(v.Items) > 0
	case *Dict:
		return len(v.Keys) > 0
	}
	return true
}

// kind names a value's type as Python does, for messages.
func kind(v Value) string {
	switch v.(type) {
	case nil:
		return "None"
	case Undefined:
		return "undefined"
	case bool:
		return "bool"
	case int64, BigInt:
		return "int"
	case float64:
		return "float"
	case Text:
		return "str"
	case *List:
		return "list"
	case *Dict:
		return "dict"
	case *namespace:
		return "namespace"
	}
	return "function"
}

// str is Python's str().
func (e *env) str(v Value) Text {
	switch v := v.(type) {
	case Text:
		return v
	case Undefined:
		return Text{}
	}
	var b textBuilder
	e.repr(&b, v, 0)
	return b.text()
}

// repr is Python's repr().
func (e *env) repr(b *textBuilder, v Value, depth int) {
	e.spend(1)
	if depth > maxNesting {
		e.fail("a value is nested more than %d deep", maxNesting)
	}
	switch v := v.(type) {
	case nil:
		b.plain("None")
	case Undefined:
		b.plain("Undefined")
	case bool:
		if v {
			b.plain("True")
		} else {
			b.plain("False")
		}
	case int64:
		b.plain(strconv.FormatInt(v, 10))
	case BigInt:
		b.plain(string(v))
	case float64:
		b.plain(formatFloat(v, "inf", "nan"))
	case Text:
		e.allocate(len(v.s))
		reprString(b, v)
	case *List:
		opening, closing := "[", "]"
		if v.tuple {
			opening, closing = "(", ")"
			if len(v.Items) == 1 {
				closing = ",)"
			}
		}
		b.plain(opening)
		for i, x := range v.Items {
			if i > 0 {
				b.plain(", ")
			}
			e.repr(b, x, depth+1)
		}
		b.plain(closing)
	case *Dict:
		b.plain("{")
		for i, k := range v.Keys {
			if i > 0 {
				b.plain(", ")
			}
			e.allocate(len(k))
			reprString(b, v.key(k))
			b.plain(": ")
			e.repr(b, v.values[k], depth+1)
		}
		b.plain("}")
	default:
		b.plain("<" + kind(v) + ">")
	}
}

func reprString(b *textBuilder, t Text) {
	quote := "'"
	if strings.Contains(t.s, "'") && !strings.Contains(t.s, `"`) {
		quote = `"`
	}
	b.plain(quote)
	t.eachRune(func(r rune, char Text) {
		switch {
		case char.s == quote || r == '\\':
			b.plain(`\`)
			b.write(char)
		case r == '\n':
			b.plain(`\n`)
		case r == '\r':
			b.plain(`\r`)
		case r == '\t':
			b.plain(`\t`)
		case r == ' ' || unicode.IsPrint(r):
			b.write(char)
		case r < 0x100:
			b.plain(`\x` + hex(uint64(r), 2))
		case r < 0x10000:
			b.plain(`\u` + hex(uint64(r), 4))
		default:
			b.plain(`\U` + hex(uint64(r), 8))
		}
	})
	b.plain(quote)
}

func hex(v uint64, width int) string {
	s := strconv.FormatUint(v, 16)
	return strings.Repeat("0", max(0, width-len(s))) + s
}

// formatFloat is Python's repr of a float: the shortest digits, with an exponent below 1e-4 and from 1e16.
func formatFloat(f float64, inf, nan string) string {
	switch {
	case math.IsNaN(f):
		return nan
	case math.IsInf(f, 1):
		return inf
	case math.IsInf(f, -1):
		return "-" + inf
	}
	if a := math.Abs(f); a != 0 && (a < 1e-4 || a >= 1e16) {
		return strconv.FormatFloat(f, 'e', -1, 64) // at least two digits of exponent, as in Python
	}
	s := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

// number returns a value as a float; bool counts as 0 and 1.
func number(v Value) (float64, bool) {
	if f, ok := v.(float64); ok {
		return f, true
	}
	n, ok := integer(v)
	return float64(n), ok
}

// integer returns a value as an int; bool counts as 0 and 1.
func integer(v Value) (int64, bool) {
	switch v := v.(type) {
	case bool:
		if v {
			return 1, true
		}
		return 0, true
	case int64:
		return v, true
	}
	return 0, false
}

func (e *env) equal(a, b Value, depth int) bool {
	e.spend(1)
	if depth > maxNesting {
		e.fail("a value is nested more than %d deep", maxNesting)
	}
	if x, ok := integer(a); ok {
		if y, ok := integer(b); ok {
			return x == y
		}
	}
	if x, ok := number(a); ok {
		y, ok := number(b)
		return ok && x == y
	}
	switch a := a.(type) {
	case nil:
		return b == nil
	case Undefined:
		_, ok := b.(Undefined)
		return ok
	case Text:
		s, ok := b.(Text)
		return ok && a.s == s.s
	case BigInt:
		s, ok := b.(BigInt)
		return ok && a == s
	case *List:
		l, ok := b.(*List)
		if !ok || len(l.Items) != len(a.Items) || l.tuple != a.tuple {
			return false
		}
		for i := range a.Items {
			if !e.equal(a.Items[i], l.Items[i], depth+1) {
				return false
			}
		}
		return true
	case *Dict:
		d, ok := b.(*Dict)
		if !ok || len(d.Keys) != len(a.Keys) {
			return false
		}
		for _, k := range a.Keys {
			v, ok := d.Get(k)
			if !ok || !e.equal(a.values[k], v, depth+1) {
				return false
			}
		}
		return true
	}
	return a == b
}

// compare orders two values of one type; Python refuses the others, and so does this.
func (e *env) compare(a, b Value, depth int) int {
	e.spend(1)
	if x, ok := integer(a); ok {
		if y, ok := integer(b); ok {
			return order(x, y)
		}
	}
	if x, ok := number(a); ok {
		if y, ok := number(b); ok {
			return order(x, y)
		}
	}
	if x, ok := a.(Text); ok {
		if y, ok := b.(Text); ok {
			return strings.Compare(x.s, y.s)
		}
	}
	if x, ok := a.(*List); ok && depth < maxNesting {
		if y, ok := b.(*List); ok {
			for i := range min(len(x.Items), len(y.Items)) {
				if !e.equal(x.Items[i], y.Items[i], depth+1) {
					return e.compare(x.Items[i], y.Items[i], depth+1)
				}
			}
			return order(len(x.Items), len(y.Items))
		}
	}
	e.fail("cannot order %s and %s", kind(a), kind(b))
	return 0
}

func order[T int | int64 | float64](a, b T) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// iterate returns the items that a loop over v visits.
func (e *env) iterate(v Value) []Value {
	switch v := v.(type) {
	case *List:
		return v.Items
	case *Dict:
		e.allocate(16 * len(v.Keys))
		items := make([]Value, len(v.Keys))
		for i, k := range v.Keys {
			items[i] = v.key(k)
		}
		return items
	case Text:
		e.allocate(48 * len(v.s))
		items := make([]Value, 0, len(v.s))
		v.eachRune(func(_ rune, char Text) { items = append(items, char) })
		return items
	case Undefined:
		return nil
	}
	e.fail("%s is not iterable", kind(v))
	return nil
}
