package jinja

import (
	"errors"
	"fmt"
	"time"
	"unicode/utf8"
)

// Limits of one rendering. Templates and conversations come from outside: whatever they hold, rendering ends, in
// bounded memory.
const (
	maxSteps = 10 << 20  // evaluations
	maxBytes = 256 << 20 // bytes of all strings and lists made on the way
	maxCalls = 50        // macros within macros
)

// env is the state of one rendering.
type env struct {
	scope *scope
	root  *scope
	out   *textBuilder
	now   func() time.Time
	steps int
	bytes int
	calls int
	line  int
}

// scope is a set of variables: of the template, of one round of a loop, or of a macro.
type scope struct {
	vars   map[string]Value
	parent *scope
}

// fault is an error of the template or of what it was given, on its way to Render.
type fault struct{ err error }

// ErrRaised is the error of a template that refuses its input with raise_exception.
var ErrRaised = errors.New("the template refuses the conversation")

func (e *env) fail(format string, args ...any) {
	panic(fault{fmt.Errorf("line %d: "+format, append([]any{e.line}, args...)...)})
}

func (e *env) spend(n int) {
	if e.steps += n; e.steps > maxSteps {
		e.fail("the template computes too much")
	}
}

func (e *env) allocate(n int) {
	if e.bytes += n; e.bytes > maxBytes {
		e.fail("the template makes too much text")
	}
}

// Render runs the template with these variables (a Go string is a Text without marks). now is the clock of
// strftime_now.
func (t *Template) Render(vars map[string]Value, now func() time.Time) (text Text, err error) {
	e := &env{scope: &scope{vars: map[string]Value{}}, out: &textBuilder{}, now: now}
	e.root = e.scope
	for k, v := range vars {
		if s, ok := v.(string); ok {
			v = Text{s: s}
		}
		e.scope.vars[k] = v
	}
	defer func() {
		switch r := recover().(type) {
		case nil:
		case fault:
			text, err = Text{}, r.err
		default:
			panic(r)
		}
	}()
	e.run(t.body)
	return e.out.text(), nil
}

func (e *env) run(body []stmt) control {
	for _, s := range body {
		if c := s.run(e); c != proceed {
			return c
		}
	}
	return proceed
}

func (e *env) print(t Text) {
	e.allocate(len(t.s))
	e.out.write(t)
}

func (s *data) run(e *env) control {
	e.spend(1)
	e.print(Text{s: s.text})
	return proceed
}

func (s *output) run(e *env) control {
	e.line = s.line
	e.print(e.str(s.x.eval(e)))
	return proceed
}

func (s *ifStmt) run(e *env) control {
	for i, c := range s.conds {
		e.line = s.line
		if truth(c.eval(e)) {
			return e.run(s.bodies[i])
		}
	}
	if len(s.bodies) > len(s.conds) {
		return e.run(s.bodies[len(s.conds)])
	}
	return proceed
}

func (s *jump) run(*env) control { return s.how }

func (s *setStmt) run(e *env) control {
	e.line = s.line
	var v Value
	if s.x != nil {
		v = s.x.eval(e)
	} else {
		v = e.capture(s.body)
		if s.filter != nil {
			args, named := s.filter.args.eval(e)
			v = filters[s.filter.name](e, v, args, named)
		}
	}
	if len(s.targets) == 1 {
		e.assign(s.targets[0], v)
		return proceed
	}
	items := e.iterate(v)
	if len(items) != len(s.targets) {
		e.fail("%d values for %d names", len(items), len(s.targets))
	}
	for i, t := range s.targets {
		e.assign(t, items[i])
	}
	return proceed
}

// capture runs statements in their own scope and returns what they print.
func (e *env) capture(body []stmt) Text {
	out, outer := e.out, e.scope
	e.out, e.scope = &textBuilder{}, &scope{vars: map[string]Value{}, parent: outer}
	e.run(body)
	text := e.out.text()
	e.out, e.scope = out, outer
	return text
}

func (e *env) assign(t target, v Value) {
	if t.attr == "" {
		e.scope.vars[t.name] = v
		return
	}
	ns, ok := (&name{t.name}).eval(e).(*namespace)
	if !ok {
		e.fail("%q is no namespace: its attributes cannot be set", t.name)
	}
	e.allocate(64)
	ns.Set(t.attr, v)
}

// loop is the variable of that name inside {% for %}.
type loop struct {
	items []Value
	i     int
}

func (l *loop) attribute(e *env, name string) Value {
	n := len(l.items)
	switch name {
	case "index":
		return int64(l.i + 1)
	case "index0":
		return int64(l.i)
	case "revindex":
		return int64(n - l.i)
	case "revindex0":
		return int64(n - l.i - 1)
	case "first":
		return l.i == 0
	case "last":
		return l.i == n-1
	case "length":
		return int64(n)
	case "depth": // counts recursive loops, which there are none of
		return int64(1)
	case "depth0":
		return int64(0)
	case "previtem":
		if l.i > 0 {
			return l.items[l.i-1]
		}
	case "nextitem":
		if l.i+1 < n {
			return l.items[l.i+1]
		}
	case "cycle":
		return &function{name, func(e *env, args []Value, _ *Dict) Value {
			if len(args) == 0 {
				e.fail("loop.cycle needs values")
			}
			return args[l.i%len(args)]
		}}
	}
	return Undefined{"loop." + name}
}

func (s *forStmt) run(e *env) control {
	e.line = s.line
	outer := e.scope
	l := &loop{items: e.iterate(s.iter.eval(e))}
	defer func() { e.scope = outer }()
	if s.cond != nil {
		var kept []Value
		for _, item := range l.items {
			e.spend(8)
			e.scope = &scope{vars: map[string]Value{}, parent: outer}
			s.bind(e, item)
			if truth(s.cond.eval(e)) {
				kept = append(kept, item)
			}
		}
		e.allocate(16 * len(kept))
		l.items = kept
	}
	for i, item := range l.items {
		e.spend(8) // a round makes a scope
		l.i = i
		e.scope = &scope{vars: map[string]Value{"loop": l}, parent: outer}
		s.bind(e, item)
		if e.run(s.body) == breakLoop {
			break
		}
	}
	e.scope = outer
	if len(l.items) == 0 {
		return e.run(s.otherwise)
	}
	return proceed
}

// bind gives a round's names their values.
func (s *forStmt) bind(e *env, item Value) {
	e.line = s.line
	if len(s.targets) == 1 {
		e.scope.vars[s.targets[0]] = item
		return
	}
	parts := e.iterate(item)
	if len(parts) != len(s.targets) {
		e.fail("%d values for %d names", len(parts), len(s.targets))
	}
	for i, t := range s.targets {
		e.scope.vars[t] = parts[i]
	}
}

func (m *macro) run(e *env) control {
	e.scope.vars[m.name] = &function{m.name, m.call}
	return proceed
}

func (m *macro) call(e *env, args []Value, named *Dict) Value {
	if e.calls++; e.calls > maxCalls {
		e.fail("macros call each other more than %d deep", maxCalls)
	}
	if len(args) > len(m.params) {
		e.fail("macro %q takes %d arguments, not %d", m.name, len(m.params), len(args))
	}
	line, outer := e.line, e.scope
	e.scope = &scope{vars: map[string]Value{}, parent: e.root}
	known := 0
	for i, p := range m.params {
		v, byName := named.Get(p)
		if byName {
			known++
		}
		switch d := i - (len(m.params) - len(m.defaults)); {
		case i < len(args):
			v = args[i]
		case byName:
		case d >= 0:
			v = m.defaults[d].eval(e)
		default:
			v = Undefined{p}
		}
		e.scope.vars[p] = v
	}
	if known < len(named.Keys) {
		e.fail("macro %q got an argument it does not know: %v", m.name, named.Keys)
	}
	text := e.capture(m.body)
	e.line, e.scope = line, outer
	e.calls--
	return text
}

// global returns a function that every template knows.
func (e *env) global(name string) Value {
	switch name {
	case "range":
		return &function{name, makeRange}
	case "namespace", "dict":
		return &function{name, func(e *env, args []Value, named *Dict) Value {
			d := Dict{}
			for _, a := range args {
				if from, ok := a.(*Dict); ok {
					d.tainted = d.tainted || from.tainted
					for _, k := range from.Keys {
						d.Set(k, from.values[k])
					}
				}
			}
			for _, k := range named.Keys {
				d.Set(k, named.values[k])
			}
			e.allocate(64 * len(d.Keys))
			if name == "dict" {
				return &d
			}
			return &namespace{d}
		}}
	case "raise_exception":
		return &function{name, func(e *env, args []Value, _ *Dict) Value {
			message := ""
			if len(args) > 0 {
				message = e.str(args[0]).s
			}
			panic(fault{fmt.Errorf("%w: %s", ErrRaised, clip(message))})
		}}
	case "strftime_now":
		return &function{name, func(e *env, args []Value, _ *Dict) Value {
			return Text{s: strftime(e, e.now(), e.stringArg(args, 0, "%Y-%m-%d"))}
		}}
	}
	return nil
}

// clip shortens a message.
func clip(s string) string {
	if len(s) <= 500 {
		return s
	}
	s = s[:500]
	for !utf8.ValidString(s) {
		s = s[:len(s)-1]
	}
	return s + "..."
}

func makeRange(e *env, args []Value, _ *Dict) Value {
	bounds := [3]int64{0, 0, 1}
	for i, a := range args {
		n, ok := integer(a)
		if !ok || i > 2 {
			e.fail("range needs one to three integers")
		}
		bounds[i] = n
	}
	switch len(args) {
	case 0:
		e.fail("range needs one to three integers")
	case 1:
		bounds[0], bounds[1] = 0, bounds[0]
	}
	start, stop, step := bounds[0], bounds[1], bounds[2]
	if step == 0 {
		e.fail("range has step zero")
	}
	l := &List{}
	for i := start; step > 0 && i < stop || step < 0 && i > stop; i += step {
		if len(l.Items) == 100000 {
			e.fail("range has more than 100000 numbers")
		}
		e.allocate(24)
		l.Items = append(l.Items, i)
		if step > 0 && i > stop-step || step < 0 && i < stop-step {
			break // the next number would be past the end, and might overflow
		}
	}
	return l
}
