package jinja

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// callable is what a method, filter argument list or function receives: positional and keyword arguments.
type callable = func(e *env, args []Value, named *Dict) Value

// method returns Python's method name of v bound to it, nil if there is none here. Methods that change a value are left
// out: templates are rendered in a sandbox that forbids them.
func method(v Value, name string) callable {
	switch v := v.(type) {
	case Text:
		if m := stringMethods[name]; m != nil {
			return func(e *env, args []Value, _ *Dict) Value {
				e.allocate(len(v.s))
				return m(e, v, args)
			}
		}
	case *Dict:
		switch name {
		case "items":
			return func(e *env, _ []Value, _ *Dict) Value { return items(e, v) }
		case "keys":
			return func(e *env, _ []Value, _ *Dict) Value { return &List{Items: e.iterate(v)} }
		case "values":
			return func(e *env, _ []Value, _ *Dict) Value {
				e.allocate(16 * len(v.Keys))
				l := &List{}
				for _, k := range v.Keys {
					l.Items = append(l.Items, v.values[k])
				}
				return l
			}
		case "get":
			return func(e *env, args []Value, _ *Dict) Value {
				if len(args) == 0 {
					e.fail("get needs a key")
				}
				key, _ := args[0].(Text)
				if x, ok := v.Get(key.s); ok {
					return x
				}
				if len(args) > 1 {
					return args[1]
				}
				return nil
			}
		}
	}
	return nil
}

// items lists a dict as pairs.
func items(e *env, d *Dict) *List {
	e.allocate(80 * len(d.Keys))
	l := &List{}
	for _, k := range d.Keys {
		l.Items = append(l.Items, &List{[]Value{d.key(k), d.values[k]}, true})
	}
	return l
}

// stringArg returns args[i] as a string, otherwise where it is not there or None.
func (e *env) stringArg(args []Value, i int, otherwise string) string {
	if i >= len(args) || args[i] == nil {
		return otherwise
	}
	return e.textArg(args, i).s
}

// textArg returns args[i] as a string, the empty one where it is not there or None.
func (e *env) textArg(args []Value, i int) Text {
	if i >= len(args) || args[i] == nil {
		return Text{}
	}
	s, ok := args[i].(Text)
	if !ok {
		e.fail("argument %d is %s, not a string", i+1, kind(args[i]))
	}
	return s
}

func (e *env) intArg(args []Value, i int, otherwise int) int {
	if i >= len(args) || args[i] == nil {
		return otherwise
	}
	n, ok := integer(args[i])
	if !ok || n > 1<<31 || n < -1<<31 {
		e.fail("argument %d is not a usable integer", i+1)
	}
	return int(n)
}

// required returns args[i] as a string.
func (e *env) required(args []Value, i int) Text {
	if i >= len(args) {
		e.fail("argument %d is missing", i+1)
	}
	return e.textArg(args, i)
}

type stringMethod func(e *env, s Text, args []Value) Value

var stringMethods map[string]stringMethod

func init() {
	plain := func(f func(string) string) stringMethod {
		return func(_ *env, s Text, _ []Value) Value { return s.rewrite(f) }
	}
	stringMethods = map[string]stringMethod{
		"upper": plain(strings.ToUpper), "lower": plain(strings.ToLower), "title": plain(title),
		"capitalize": plain(capitalize),
		"strip":      func(e *env, s Text, args []Value) Value { return strip(e, s, args, true, true) },
		"lstrip":     func(e *env, s Text, args []Value) Value { return strip(e, s, args, true, false) },
		"rstrip":     func(e *env, s Text, args []Value) Value { return strip(e, s, args, false, true) },
		"split":      func(e *env, s Text, args []Value) Value { return splitString(e, s, args, false) },
		"rsplit":     func(e *env, s Text, args []Value) Value { return splitString(e, s, args, true) },
		"splitlines": func(e *env, s Text, _ []Value) Value {
			e.allocate(48 * (strings.Count(s.s, "\n") + strings.Count(s.s, "\r")))
			l := &List{}
			for s.s != "" {
				end := strings.IndexAny(s.s, "\r\n")
				next := end + 1
				if end < 0 {
					end, next = len(s.s), len(s.s)
				} else if strings.HasPrefix(s.s[end:], "\r\n") {
					next++
				}
				l.Items = append(l.Items, s.cut(0, end))
				s = s.cut(next, len(s.s))
			}
			return l
		},
		"startswith": func(e *env, s Text, args []Value) Value { return anyAffix(e, s, args, strings.HasPrefix) },
		"endswith":   func(e *env, s Text, args []Value) Value { return anyAffix(e, s, args, strings.HasSuffix) },
		"replace": func(e *env, s Text, args []Value) Value {
			return replaceAll(e, s, e.required(args, 0).s, e.required(args, 1), e.intArg(args, 2, -1))
		},
		"find": func(e *env, s Text, args []Value) Value {
			at := strings.Index(s.s, e.required(args, 0).s)
			if at > 0 {
				at = utf8.RuneCountInString(s.s[:at])
			}
			return int64(at)
		},
		"count": func(e *env, s Text, args []Value) Value { return int64(strings.Count(s.s, e.required(args, 0).s)) },
		"join": func(e *env, s Text, args []Value) Value {
			if len(args) == 0 {
				e.fail("join needs a sequence")
			}
			for _, x := range e.iterate(args[0]) {
				if _, ok := x.(Text); !ok {
					e.fail("join got %s among the strings", kind(x))
				}
			}
			return join(e, e.iterate(args[0]), s)
		},
		"isdigit": func(_ *env, s Text, _ []Value) Value { return all(s.s, unicode.IsDigit) },
		"isalpha": func(_ *env, s Text, _ []Value) Value { return all(s.s, unicode.IsLetter) },
		"isspace": func(_ *env, s Text, _ []Value) Value { return all(s.s, isSpace) },
		"removeprefix": func(e *env, s Text, args []Value) Value {
			return s.cut(len(s.s)-len(strings.TrimPrefix(s.s, e.required(args, 0).s)), len(s.s))
		},
		"removesuffix": func(e *env, s Text, args []Value) Value {
			return s.cut(0, len(strings.TrimSuffix(s.s, e.required(args, 0).s)))
		},
	}
}

func all(s string, is func(rune) bool) bool {
	return s != "" && strings.IndexFunc(s, func(r rune) bool { return !is(r) }) < 0
}

func strip(e *env, s Text, args []Value, left, right bool) Text {
	in := isSpace
	if len(args) > 0 && args[0] != nil {
		chars := e.stringArg(args, 0, "")
		e.spend(len(chars) * len(s.s) / 64)
		in = func(r rune) bool { return strings.ContainsRune(chars, r) }
	}
	return s.trim(in, left, right)
}

func splitString(e *env, s Text, args []Value, fromRight bool) Value {
	limit := e.intArg(args, 1, -1)
	var parts []Text
	if len(args) == 0 || args[0] == nil {
		parts = fields(s, limit, fromRight)
	} else {
		sep := e.stringArg(args, 0, "")
		if sep == "" {
			e.fail("split got an empty separator")
		}
		e.allocate(48 * (strings.Count(s.s, sep) + 1))
		switch {
		case limit < 0:
			parts = s.split(sep, -1)
		case fromRight:
			for ; limit > 0; limit-- {
				at := strings.LastIndex(s.s, sep)
				if at < 0 {
					break
				}
				parts = append(parts, s.cut(at+len(sep), len(s.s)))
				s = s.cut(0, at)
			}
			parts = append(parts, s)
			slices.Reverse(parts)
		default:
			parts = s.split(sep, limit+1)
		}
	}
	e.allocate(32 * len(parts))
	l := &List{Items: make([]Value, len(parts))}
	for i, p := range parts {
		l.Items[i] = p
	}
	return l
}

// fields is split() without separator: runs of white space separate, and at most limit cuts are made where it is not
// negative.
func fields(s Text, limit int, fromRight bool) []Text {
	var parts []Text
	if fromRight && limit >= 0 {
		for s = s.trim(isSpace, false, true); s.s != ""; s = s.trim(isSpace, false, true) {
			start := 0 // of the last part
			if at := strings.LastIndexFunc(s.s, isSpace); at >= 0 && len(parts) < limit {
				_, size := utf8.DecodeRuneInString(s.s[at:])
				start = at + size
			}
			parts = append(parts, s.cut(start, len(s.s)))
			s = s.cut(0, start)
		}
		slices.Reverse(parts)
		return parts
	}
	for s = s.trim(isSpace, true, false); s.s != ""; s = s.trim(isSpace, true, false) {
		at := strings.IndexFunc(s.s, isSpace)
		if at < 0 || limit >= 0 && len(parts) == limit {
			at = len(s.s)
		}
		parts = append(parts, s.cut(0, at))
		s = s.cut(at, len(s.s))
	}
	return parts
}

func anyAffix(e *env, s Text, args []Value, has func(s, affix string) bool) Value {
	if len(args) == 1 {
		if l, ok := args[0].(*List); ok {
			for _, x := range l.Items {
				if affix, ok := x.(Text); ok && has(s.s, affix.s) {
					return true
				}
			}
			return false
		}
	}
	return has(s.s, e.required(args, 0).s)
}

// replaceAll replaces old by replacement, at most n times where n is not negative.
func replaceAll(e *env, s Text, old string, replacement Text, n int) Text {
	count := strings.Count(s.s, old)
	if n >= 0 {
		count = min(count, n)
	}
	e.repeat(max(1, len(replacement.s)), int64(count))
	var b textBuilder
	for i := range count {
		at := strings.Index(s.s, old)
		if _, size := utf8.DecodeRuneInString(s.s); old == "" && i > 0 { // matches between all characters
			at = size
		}
		b.write(s.cut(0, at))
		b.write(replacement)
		s = s.cut(at+len(old), len(s.s))
	}
	b.write(s)
	return b.text()
}

func join(e *env, parts []Value, sep Text) Text {
	var b textBuilder
	for i, x := range parts {
		if i > 0 {
			e.allocate(len(sep.s))
			b.write(sep)
		}
		s := e.str(x)
		e.allocate(len(s.s))
		b.write(s)
	}
	return b.text()
}

// title makes the first letter of each run of letters upper case and the others lower case.
func title(s string) string {
	inWord := false
	return strings.Map(func(r rune) rune {
		first := !inWord
		inWord = unicode.IsLetter(r)
		if first {
			return unicode.ToTitle(r)
		}
		return unicode.ToLower(r)
	}, s)
}

// titleWords is the filter title: only white space, hyphens and opening brackets begin a word.
func titleWords(s string) string {
	first := true
	return strings.Map(func(r rune) rune {
		wasFirst := first
		first = isSpace(r) || strings.ContainsRune("-({[<", r)
		if wasFirst {
			return unicode.ToUpper(r)
		}
		return unicode.ToLower(r)
	}, s)
}

func capitalize(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	if n == 0 {
		return s
	}
	return string(unicode.ToTitle(r)) + strings.ToLower(s[n:])
}
