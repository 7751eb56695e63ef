package jinja

import "strings"

type testFunc func(e *env, v Value, args []Value) bool

var tests map[string]testFunc

func init() {
	relation := func(ok func(e *env, a, b Value) bool) testFunc {
		return func(e *env, v Value, args []Value) bool {
			if len(args) != 1 {
				e.fail("the test needs one argument")
			}
			return ok(e, v, args[0])
		}
	}
	is := func(ok func(v Value) bool) testFunc {
		return func(_ *env, v Value, _ []Value) bool { return ok(v) }
	}
	equal := relation(func(e *env, a, b Value) bool { return e.equal(a, b, 0) })
	unequal := relation(func(e *env, a, b Value) bool { return !e.equal(a, b, 0) })
	less := relation(func(e *env, a, b Value) bool { return e.compare(a, b, 0) < 0 })
	more := relation(func(e *env, a, b Value) bool { return e.compare(a, b, 0) > 0 })
	atMost := relation(func(e *env, a, b Value) bool { return e.compare(a, b, 0) <= 0 })
	atLeast := relation(func(e *env, a, b Value) bool { return e.compare(a, b, 0) >= 0 })
	modulo := func(e *env, a, b Value) bool {
		return e.equal((&binary{"%", &literal{a}, &literal{b}}).eval(e), int64(0), 0)
	}
	tests = map[string]testFunc{
		"defined":   is(func(v Value) bool { _, u := v.(Undefined); return !u }),
		"undefined": is(func(v Value) bool { _, u := v.(Undefined); return u }),
		"none":      is(func(v Value) bool { return v == nil }),
		"string":    is(func(v Value) bool { _, ok := v.(Text); return ok }),
		"mapping":   is(func(v Value) bool { _, ok := v.(*Dict); return ok }),
		"boolean":   is(func(v Value) bool { _, ok := v.(bool); return ok }),
		"true":      is(func(v Value) bool { return v == true }),
		"false":     is(func(v Value) bool { return v == false }),
		"float":     is(func(v Value) bool { _, ok := v.(float64); return ok }),
		"integer": is(func(v Value) bool {
			switch v.(type) {
			case int64, BigInt:
				return true
			}
			return false
		}),
		"number": is(func(v Value) bool {
			_, big := v.(BigInt)
			_, ok := number(v)
			return ok || big
		}),
		"sequence": is(iterable), "iterable": is(iterable),
		"callable": is(func(v Value) bool { _, ok := v.(*function); return ok }),
		"lower": func(e *env, v Value, _ []Value) bool {
			s := e.str(v).s
			return s == strings.ToLower(s) && s != strings.ToUpper(s)
		},
		"upper": func(e *env, v Value, _ []Value) bool {
			s := e.str(v).s
			return s == strings.ToUpper(s) && s != strings.ToLower(s)
		},
		"odd":         func(e *env, v Value, _ []Value) bool { return !modulo(e, v, int64(2)) },
		"even":        func(e *env, v Value, _ []Value) bool { return modulo(e, v, int64(2)) },
		"divisibleby": relation(modulo),
		"in":          relation(func(e *env, a, b Value) bool { return e.contains(b, a) }),
		"sameas":      relation(func(e *env, a, b Value) bool { return kind(a) == kind(b) && e.equal(a, b, 0) }),
		"eq":          equal, "equalto": equal, "==": equal, "ne": unequal, "!=": unequal,
		"lt": less, "lessthan": less, "<": less, "gt": more, "greaterthan": more, ">": more,
		"le": atMost, "<=": atMost, "ge": atLeast, ">=": atLeast,
	}
}

func iterable(v Value) bool {
	switch v.(type) {
	case Text, *List, *Dict, Undefined:
		return true
	}
	return false
}
