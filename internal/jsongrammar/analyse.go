package jsongrammar

import (
	"errors"
	"slices"
)

// measure computes the heights of all nodes: the smallest solution of its equations, from above.
func (b *builder) measure() {
	for changed := true; changed; {
		changed = false
		for _, n := range b.nodes {
			if h := n.measured(); h < n.height {
				n.height, changed = h, true
			}
		}
	}
}

// measured is the height of n by those of its parts.
func (n *node) measured() (height int32) {
	most := func(part *node) {
		if part == nil {
			height = unbuilt
			return
		}
		height = max(height, part.height)
	}
	switch n.kind {
	case choice:
		height = unbuilt
		for _, o := range n.options {
			height = min(height, o.height)
		}
		return height
	case object:
		for _, p := range n.properties {
			if p.required {
				most(p.value)
			}
		}
	case list:
		for i := range min(int(n.min), len(n.first)) {
			most(n.first[i])
		}
		if int(n.min) > len(n.first) {
			most(n.items)
		}
	default:
		return 0
	}
	return min(height+1, unbuilt)
}

// loops returns an error if a choice is one of its own options, such as a schema that is only a reference to itself.
func (b *builder) loops() error {
	state := map[*node]int{} // 1: being visited, 2: visited
	var visit func(n *node) bool
	visit = func(n *node) bool {
		if state[n] == 1 {
			return true
		}
		if state[n] == 2 || n.kind != choice {
			return false
		}
		state[n] = 1
		found := slices.ContainsFunc(n.options, visit)
		state[n] = 2
		return found
	}
	if slices.ContainsFunc(b.nodes, visit) {
		return errors.New("a schema refers to itself without an object or a list between")
	}
	return nil
}

// flat are the nodes that n chooses from.
func flat(n *node) (all []*node) {
	if n.kind != choice {
		return []*node{n}
	}
	for _, o := range n.options {
		all = append(all, flat(o)...)
	}
	return all
}

// apart reports whether no value satisfies both x and y, as far as their types, literals, and the values of required
// properties tell.
func apart(x, y *node) bool { return apartBelow(x, y, 0) }

func apartBelow(x, y *node, depth int) bool {
	if depth > MaxDepth {
		return false
	}
	for _, p := range flat(x) {
		for _, q := range flat(y) {
			switch {
			case p.class() != q.class():
			case p.kind == literal && q.kind == literal && p.bytes != q.bytes && p.class() != number:
			case p.kind == object && q.kind == object && slices.ContainsFunc(p.properties, func(a property) bool {
				return a.required && slices.ContainsFunc(q.properties, func(c property) bool {
					return c.required && a.name == c.name && apartBelow(a.value, c.value, depth+1)
				})
			}):
			default:
				return false
			}
		}
	}
	return true
}

// class is the kind of value of a node that is no choice. That of true, false and null is literal.
func (n *node) class() kind {
	if n.kind != literal {
		return n.kind
	}
	switch c := n.bytes[0]; {
	case c == '"':
		return text
	case c == '-' || isDigit(c):
		return number
	}
	return literal
}
