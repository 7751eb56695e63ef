package jinja

import (
	"math"
	"strings"
	"unicode/utf8"
)

func (x *literal) eval(*env) Value { return x.v }

func (x *name) eval(e *env) Value {
	e.spend(1)
	for s := e.scope; s != nil; s = s.parent {
		if v, ok := s.vars[x.name]; ok {
			return v
		}
	}
	if f := e.global(x.name); f != nil {
		return f
	}
	return Undefined{x.name}
}

func (x *listExpr) eval(e *env) Value {
	e.allocate(16 * len(x.items))
	l := &List{make([]Value, len(x.items)), x.tuple}
	for i, item := range x.items {
		l.Items[i] = item.eval(e)
	}
	return l
}

func (x *dictExpr) eval(e *env) Value {
	d := &Dict{}
	e.allocate(64 * len(x.keys))
	for i := range x.keys {
		key, ok := x.keys[i].eval(e).(Text)
		if !ok {
			e.fail("only strings can be keys of a dict")
		}
		d.tainted = d.tainted || key.mask != ""
		d.Set(key.s, x.values[i].eval(e))
	}
	return d
}

func (x *attr) eval(e *env) Value {
	e.spend(1)
	return e.attribute(x.of.eval(e), x.name)
}

// attribute is v.name: a method, else a key.
func (e *env) attribute(v Value, name string) Value {
	switch d := v.(type) {
	case Undefined:
		e.fail("%q is undefined", d.Name)
	case *namespace:
		if v, ok := d.Get(name); ok {
			return v
		}
		return Undefined{name}
	case *loop:
		return d.attribute(e, name)
	}
	if m := method(v, name); m != nil {
		return &function{name, m}
	}
	if d, ok := v.(*Dict); ok {
		if v, ok := d.Get(name); ok {
			return v
		}
	}
	return Undefined{name}
}

func (x *index) eval(e *env) Value {
	e.spend(1)
	of, key := x.of.eval(e), x.key.eval(e)
	if u, ok := of.(Undefined); ok {
		e.fail("%q is undefined", u.Name)
	}
	if name, ok := key.(Text); ok {
		if d, ok := of.(*Dict); ok {
			if v, ok := d.Get(name.s); ok {
				return v
			}
		}
		return e.attribute(of, name.s)
	}
	n, ok := integer(key)
	if !ok {
		return Undefined{e.str(key).s}
	}
	switch v := of.(type) {
	case *List:
		if n < 0 {
			n += int64(len(v.Items))
		}
		if n >= 0 && n < int64(len(v.Items)) {
			return v.Items[n]
		}
	case Text:
		e.spend(len(v.s) / 16)
		if n < 0 {
			n += int64(utf8.RuneCountInString(v.s))
		}
		for i := range v.s {
			if n == 0 {
				_, size := utf8.DecodeRuneInString(v.s[i:])
				return v.cut(i, i+size)
			}
			n--
		}
	}
	return Undefined{"element"}
}

func (x *slice) eval(e *env) Value {
	of := x.of.eval(e)
	bound := func(b expr) *int64 {
		if b == nil {
			return nil
		}
		v := b.eval(e)
		if v == nil {
			return nil
		}
		n, ok := integer(v)
		if !ok {
			e.fail("a slice's bound is %s, not an integer", kind(v))
		}
		return &n
	}
	start, stop, step := bound(x.start), bound(x.stop), bound(x.step)
	switch v := of.(type) {
	case *List:
		at := e.places(len(v.Items), start, stop, step)
		items := make([]Value, len(at))
		for i, k := range at {
			items[i] = v.Items[k]
		}
		return &List{items, v.tuple}
	case Text:
		e.allocate(8 * len(v.s))
		starts := make([]int, 0, len(v.s)+1)
		for i := range v.s {
			starts = append(starts, i)
		}
		at := e.places(len(starts), start, stop, step)
		starts = append(starts, len(v.s))
		var out textBuilder
		for _, k := range at {
			out.write(v.cut(starts[k], starts[k+1]))
		}
		return out.text()
	}
	e.fail("%s cannot be sliced", kind(of))
	return nil
}

// places lists the places that Python's [start:stop:step] takes of a sequence of n.
func (e *env) places(n int, start, stop, step *int64) []int {
	by := int64(1)
	if step != nil {
		by = *step
	}
	if by == 0 {
		e.fail("a slice's step is zero")
	}
	low, high := int64(0), int64(n) // the places allowed for bounds
	if by < 0 {
		low, high = -1, int64(n)-1
	}
	clamp := func(b *int64, otherwise int64) int64 {
		if b == nil {
			return otherwise
		}
		v := *b
		if v < 0 {
			v += int64(n)
		}
		return min(max(v, low), high)
	}
	from, to := low, high
	if by < 0 {
		from, to = high, low
	}
	from, to = clamp(start, from), clamp(stop, to)
	e.allocate(24 * n)
	var at []int
	for i := from; by > 0 && i < to || by < 0 && i > to; {
		at = append(at, int(i))
		if by > int64(n) || by < -int64(n) {
			break // the next place lies outside, and adding might overflow
		}
		i += by
	}
	return at
}

func (x *call) eval(e *env) Value {
	e.spend(1)
	fn := x.fn.eval(e)
	f, ok := fn.(*function)
	if !ok {
		if u, ok := fn.(Undefined); ok {
			e.fail("%q is undefined or not supported", u.Name)
		}
		e.fail("%s cannot be called", kind(fn))
	}
	args, named := x.args.eval(e)
	return f.call(e, args, named)
}

func (a *arguments) eval(e *env) ([]Value, *Dict) {
	var args []Value
	for _, x := range a.args {
		args = append(args, x.eval(e))
	}
	named := &Dict{}
	for i, x := range a.values {
		named.Set(a.names[i], x.eval(e))
	}
	return args, named
}

func (x *filter) eval(e *env) Value {
	e.spend(1)
	v := x.of.eval(e)
	args, named := x.args.eval(e)
	return filters[x.name](e, v, args, named)
}

func (x *test) eval(e *env) Value {
	e.spend(1)
	v := x.of.eval(e)
	args, _ := x.args.eval(e)
	return tests[x.name](e, v, args) != x.not
}

func (x *logic) eval(e *env) Value {
	v := x.x.eval(e)
	if truth(v) == x.or {
		return v
	}
	return x.y.eval(e)
}

func (x *conditional) eval(e *env) Value {
	switch {
	case truth(x.cond.eval(e)):
		return x.then.eval(e)
	case x.otherwise != nil:
		return x.otherwise.eval(e)
	}
	return Undefined{"the value of an if without else"}
}

func (x *comparison) eval(e *env) Value {
	left := x.first.eval(e)
	for i, op := range x.ops {
		right := x.rest[i].eval(e)
		ok := false
		switch op {
		case "==":
			ok = e.equal(left, right, 0)
		case "!=":
			ok = !e.equal(left, right, 0)
		case "in":
			ok = e.contains(right, left)
		case "not in":
			ok = !e.contains(right, left)
		case "<":
			ok = e.compare(left, right, 0) < 0
		case "<=":
			ok = e.compare(left, right, 0) <= 0
		case ">":
			ok = e.compare(left, right, 0) > 0
		case ">=":
			ok = e.compare(left, right, 0) >= 0
		}
		if !ok {
			return false
		}
		left = right
	}
	return true
}

func (e *env) contains(in, v Value) bool {
	switch in := in.(type) {
	case Text:
		s, ok := v.(Text)
		if !ok {
			e.fail("%s cannot be looked for in a string", kind(v))
		}
		e.spend(len(in.s) / 64)
		return strings.Contains(in.s, s.s)
	case *Dict:
		s, ok := v.(Text)
		_, found := in.Get(s.s)
		return ok && found
	case *List:
		for _, x := range in.Items {
			if e.equal(x, v, 0) {
				return true
			}
		}
		return false
	case Undefined:
		return false
	}
	e.fail("nothing can be looked for in %s", kind(in))
	return false
}

func (x *unary) eval(e *env) Value {
	v := x.x.eval(e)
	if x.op == "not" {
		return !truth(v)
	}
	if n, ok := integer(v); ok {
		if x.op == "-" {
			return e.integers("-", 0, n)
		}
		return n
	}
	f, ok := number(v)
	if !ok {
		e.fail("%s%s has no meaning", x.op, kind(v))
	}
	if x.op == "-" {
		f = -f
	}
	return f
}

func (x *binary) eval(e *env) Value {
	e.spend(1)
	a, b := x.x.eval(e), x.y.eval(e)
	if x.op == "~" {
		return e.concat(e.str(a), e.str(b))
	}
	if v, ok := e.sequences(x.op, a, b); ok {
		return v
	}
	i, ok1 := integer(a)
	j, ok2 := integer(b)
	if ok1 && ok2 && x.op != "/" && !(x.op == "**" && j < 0) {
		return e.integers(x.op, i, j)
	}
	f, ok1 := number(a)
	g, ok2 := number(b)
	if !ok1 || !ok2 {
		for _, v := range []Value{a, b} {
			if u, ok := v.(Undefined); ok {
				e.fail("%q is undefined", u.Name)
			}
		}
		e.fail("%s %s %s has no meaning", kind(a), x.op, kind(b))
	}
	return e.floats(x.op, f, g)
}

func (e *env) concat(a, b Text) Text {
	e.allocate(len(a.s) + len(b.s))
	var out textBuilder
	out.write(a)
	out.write(b)
	return out.text()
}

// sequences is + and * on strings and lists.
func (e *env) sequences(op string, a, b Value) (Value, bool) {
	if op == "*" {
		if _, ok := integer(a); ok {
			a, b = b, a
		}
	}
	switch a := a.(type) {
	case Text:
		if t, ok := b.(Text); ok && op == "+" {
			return e.concat(a, t), true
		}
		if n, ok := integer(b); ok && op == "*" {
			times := e.repeat(len(a.s), n)
			return Text{strings.Repeat(a.s, times), strings.Repeat(a.mask, times)}, true
		}
	case *List:
		if l, ok := b.(*List); ok && op == "+" {
			e.allocate(16 * (len(a.Items) + len(l.Items)))
			return &List{append(append([]Value(nil), a.Items...), l.Items...), a.tuple && l.tuple}, true
		}
	}
	return nil, false
}

// repeat counts n copies of size bytes against the memory limit, and returns n, at least 0.
func (e *env) repeat(size int, n int64) int {
	if size == 0 || n <= 0 {
		return 0
	}
	if n > maxBytes/int64(size) {
		n = maxBytes/int64(size) + 1
	}
	e.allocate(size * int(n))
	return int(n)
}

func (e *env) integers(op string, a, b int64) Value {
	c, ok := int64(0), true
	switch op {
	case "+":
		c = a + b
		ok = (c > a) == (b > 0)
	case "-":
		c = a - b
		ok = (c < a) == (b > 0)
	case "*":
		c, ok = times(a, b)
	case "**":
		for c = 1; ok && b > 0; b-- {
			if a >= -1 && a <= 1 { // whose powers repeat
				b = (b-1)&1 + 1
			}
			c, ok = times(c, a)
		}
	case "//", "%":
		if b == 0 {
			e.fail("division by zero")
		}
		var r int64
		c, r = a/b, a%b
		ok = a != math.MinInt64 || b != -1
		if r != 0 && (r < 0) != (b < 0) {
			c, r = c-1, r+b
		}
		if op == "%" {
			c, ok = r, true
		}
	}
	if !ok {
		e.fail("an integer is too large")
	}
	return c
}

// times multiplies; ok is false where the product does not fit.
func times(a, b int64) (c int64, ok bool) {
	c = a * b
	return c, a == 0 || c/a == b && !(a == -1 && b == math.MinInt64)
}

func (e *env) floats(op string, a, b float64) Value {
	if b == 0 && (op == "/" || op == "//" || op == "%") {
		e.fail("division by zero")
	}
	switch op {
	case "+":
		return a + b
	case "-":
		return a - b
	case "*":
		return a * b
	case "/":
		return a / b
	case "//":
		return math.Floor(a / b)
	case "%":
		if r := math.Mod(a, b); r != 0 && (r < 0) != (b < 0) {
			return r + b
		} else {
			return r
		}
	}
	return math.Pow(a, b)
}
