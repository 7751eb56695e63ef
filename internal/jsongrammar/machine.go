package jsongrammar

import "slices"

// frame is a place in a value that has begun, with the places in the values around it below: a stack. A nil frame is
// the end of the text. Frames are interned and do not change.
type frame struct {
	of    *node // nil: before the text
	state uint8 // of number, object or list
	in    inString
	space uint8  // characters of white space just before
	count int32  // literal: bytes; text: characters; list: elements; object: see the states
	seen  string // object: the set of its properties so far; integer with bounds: its digits and sign
	depth int32  // objects and lists that are open
	below *frame
}

// States of objects and lists.
const (
	opened  uint8 = iota // after the opening bracket
	inKey                // count-1 is the place in the tree of keys, -1 if the key is none of them
	atColon              // after the key; count-1 is the property, -1 if it has no name
	atValue              // before a value; count as before
	after                // after a value
	atKey                // after a comma of an object
)

// intern is the one frame that equals f.
func (g *Grammar) intern(f frame) *frame {
	p, ok := g.frames[f]
	if !ok {
		p = &f
		g.frames[f] = p
	}
	return p
}

// fits reports whether a value of n can be completed where depth objects and lists are open.
func fits(n *node, depth int32) bool { return n != nil && depth+n.height <= MaxDepth }

// begin adds to out the stacks after b, the first byte of a value of n on top of below.
func (g *Grammar) begin(out []*frame, n *node, below *frame, depth int32, b byte) []*frame {
	if !fits(n, depth) {
		return out
	}
	f := frame{of: n, depth: depth, below: below}
	switch n.kind {
	case choice:
		for _, o := range n.options {
			out = g.begin(out, o, below, depth, b)
		}
		return out
	case literal:
		return g.step(out, &f, b)
	case text:
		if b != '"' {
			return out
		}
	case number:
		switch {
		case b == '-':
			f.state = afterMinus
		case b == '0':
			f.state = afterZero
		case isDigit(b):
			f.state = inInteger
		default:
			return out
		}
		if !f.counts(b) {
			return out
		}
	case object:
		if b != '{' {
			return out
		}
		f.depth++
		f.seen = string(make([]byte, (len(n.properties)+7)/8))
	case list:
		if b != '[' {
			return out
		}
		f.depth++
	}
	return append(out, g.intern(f))
}

// counts adds b to the digits of an integer with bounds, and reports whether there is such an integer.
func (f *frame) counts(b byte) bool {
	if f.of.low == nil && f.of.high == nil {
		return true
	}
	f.seen += string(b)
	return f.within(false)
}

func (f *frame) within(whole bool) bool {
	if f.of.low == nil && f.of.high == nil {
		return true
	}
	if f.seen[0] == '-' {
		return within(f.seen[1:], true, f.of.low, f.of.high, whole)
	}
	return within(f.seen, false, f.of.low, f.of.high, whole)
}

// step adds to out the stacks that f becomes by b. f need not be interned.
func (g *Grammar) step(out []*frame, f *frame, b byte) []*frame {
	if f == nil {
		return out
	}
	to := *f
	switch {
	case f.of == nil:
		if isSpace(b) {
			return g.skip(out, to)
		}
		return g.begin(out, g.root, nil, 0, b)
	case f.of.kind == literal:
		if f.of.bytes[f.count] != b {
			return out
		}
		if to.count++; int(to.count) == len(f.of.bytes) {
			return append(out, f.below)
		}
	case f.of.kind == text:
		if f.in == body && b == '"' {
			if f.count < f.of.min {
				return out
			}
			return append(out, f.below)
		}
		var begins bool
		if to.in, begins = f.in.next(b); to.in == badString {
			return out
		}
		if begins {
			if f.count == f.of.max {
				return out
			}
			if to.count++; f.of.max < 0 {
				to.count = min(to.count, f.of.min)
			}
		}
	case f.of.kind == number:
		to.state = nextInNumber(f.state, b, f.of.integer)
		if to.state == badNumber || !to.counts(b) {
			if !f.numberEnds() {
				return out
			}
			return g.step(out, f.below, b)
		}
	case f.of.kind == object:
		return g.stepObject(out, to, b)
	default:
		return g.stepList(out, to, b)
	}
	return append(out, g.intern(to))
}

func (f *frame) numberEnds() bool { return numberEnds(f.state) && f.within(true) }

// skip adds f with one more character of white space.
func (g *Grammar) skip(out []*frame, f frame) []*frame {
	if f.space == MaxSpace {
		return out
	}
	f.space++
	return append(out, g.intern(f))
}

func (g *Grammar) stepObject(out []*frame, f frame, b byte) []*frame {
	if isSpace(b) && f.state != inKey {
		return g.skip(out, f)
	}
	f.space = 0
	switch f.state {
	case opened, atKey:
		switch {
		case b == '"' && f.anotherKey():
			f.state, f.count = inKey, 0
			if len(f.of.names) > 0 {
				f.count = 1
			}
			return append(out, g.intern(f))
		case b == '}' && f.state == opened && f.complete():
			return append(out, f.below)
		}
	case inKey:
		return g.stepKey(out, f, b)
	case atColon:
		if b == ':' {
			f.state = atValue
			return append(out, g.intern(f))
		}
	case atValue:
		n, next := f.of.other, f
		if f.count > 0 {
			n = f.of.properties[f.count-1].value
			set := []byte(f.seen)
			set[(f.count-1)/8] |= 1 << ((f.count - 1) % 8)
			next.seen = string(set)
		}
		next.state, next.count = after, 0
		return g.begin(out, n, g.intern(next), f.depth, b)
	case after:
		switch {
		case b == ',' && f.anotherKey():
			f.state = atKey
			return append(out, g.intern(f))
		case b == '}' && f.complete():
			return append(out, f.below)
		}
	}
	return out
}

// stepKey follows a key. Where the object has named properties, other keys are written without escapes that could spell
// a name in a second way.
func (g *Grammar) stepKey(out []*frame, f frame, b byte) []*frame {
	names, was := f.of.names, f.in
	others := fits(f.of.other, f.depth)
	if was == body && b == '"' {
		property := int32(-1)
		if f.count > 0 {
			property = names[f.count-1].property
		}
		if property >= 0 && !f.open(property) || property < 0 && !others {
			return out
		}
		f.state, f.count = atColon, property+1
		return append(out, g.intern(f))
	}
	if f.in, _ = was.next(b); f.in == badString {
		return out
	}
	possible := false
	if f.count > 0 {
		to, ok := names[f.count-1].next[b]
		if f.count = to + 1; !ok {
			f.count = 0
		}
		possible = ok && f.available(to)
	}
	second := len(names) > 0 &&
		(f.in >= hex1 && f.in <= low2 || was >= hex1 && was <= low2 || was == escape && b == '/')
	if !possible && (!others || second) {
		return out
	}
	return append(out, g.intern(f))
}

// open reports whether a property may follow.
func (f *frame) open(property int32) bool {
	return f.seen[property/8]&(1<<(property%8)) == 0 && fits(f.of.properties[property].value, f.depth)
}

// available reports whether a property that is open has a key below place at of the tree.
func (f *frame) available(at int32) bool { return slices.ContainsFunc(f.of.names[at].below, f.open) }

// anotherKey reports whether any key may follow.
func (f *frame) anotherKey() bool {
	return fits(f.of.other, f.depth) || len(f.of.names) > 0 && f.available(0)
}

// complete reports whether all required properties are there.
func (f *frame) complete() bool {
	for i, p := range f.of.properties {
		if p.required && f.seen[i/8]&(1<<(i%8)) == 0 {
			return false
		}
	}
	return true
}

func (g *Grammar) stepList(out []*frame, f frame, b byte) []*frame {
	if isSpace(b) {
		return g.skip(out, f)
	}
	f.space = 0
	switch {
	case f.state == opened && b == ']':
		if f.of.min > 0 {
			return out
		}
		return append(out, f.below)
	case f.state == opened || f.state == atValue:
		n := f.element()
		f.state = after
		if f.count++; f.of.max < 0 {
			f.count = min(f.count, max(f.of.min, int32(len(f.of.first))))
		}
		return g.begin(out, n, g.intern(f), f.depth, b)
	case b == ']' && f.count >= f.of.min:
		return append(out, f.below)
	case b == ',' && fits(f.element(), f.depth):
		f.state = atValue
		return append(out, g.intern(f))
	}
	return out
}

// element is what the next element of a list must be; nil if there is none.
func (f *frame) element() *node {
	switch {
	case f.count == f.of.max:
		return nil
	case int(f.count) < len(f.of.first):
		return f.of.first[f.count]
	}
	return f.of.items
}

// ends reports whether the text may end.
func (f *frame) ends() bool {
	return f == nil || f.of != nil && f.of.kind == number && f.below == nil && f.numberEnds()
}
