package jinja

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// callable is what a method, filter argument list or function receives: positional and keyword arguments.
type callable = func(e *env, args []Value, named *Dict) Value

// method returns Python's method name of v bound to it, nil if there is none here. Methods that change a value are left out: templates
// are rendered in a sandbox that forbids them.
func method(v Value, name string) callable {
	switch v := v.(type) {
	case string:
		if m := stringMethods[name]; m != nil {
			return func(e *env, args []Value, _ *Dict) Value {
				e.allocate(len(v))
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
				key, _ := args[0].(string)
				if x, ok := v.Get(key); ok {
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
		l.Items = append(l.Items, &List{[]Value{k, d.values[k]}, true})
	}
	return l
}

// stringArg returns args[i] as a string, otherwise where it is not there or None.
func (e *env) stringArg(args []Value, i int, otherwise string) string {
	if i >= len(args) || args[i] == nil {
		return otherwise
	}
	s, ok := args[i].(string)
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
func (e *env) required(args []Value, i int) string {
	if i >= len(args) {
		e.fail("argument %d is missing", i+1)
	}
	return e.stringArg(args, i, "")
}

type stringMethod func(e *env, s string, args []Value) Value

var stringMethods map[string]stringMethod

func init() {
	plain := func(f func(string) string) stringMethod {
		return func(_ *env, s string, _ []Value) Value { return f(s) }
	}
	stringMethods = map[string]stringMethod{
		"upper": plain(strings.ToUpper), "lower": plain(strings.ToLower), "title": plain(title), "capitalize": plain(capitalize),
		"strip":  func(e *env, s string, args []Value) Value { return strip(e, s, args, true, true) },
		"lstrip": func(e *env, s string, args []Value) Value { return strip(e, s, args, true, false) },
		"rstrip": func(e *env, s string, args []Value) Value { return strip(e, s, args, false, true) },
		"split":  func(e *env, s string, args []Value) Value { return splitString(e, s, args, false) },
		"rsplit": func(e *env, s string, args []Value) Value { return splitString(e, s, args, true) },
		"splitlines": func(e *env, s string, _ []Value) Value {
			e.allocate(16 * strings.Count(s, "\n"))
			l := &List{}
			for line := range strings.Lines(strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\r", "\n")) {
				l.Items = append(l.Items, strings.TrimSuffix(line, "\n"))
			}
			return l
		},
		"startswith": func(e *env, s string, args []Value) Value { return anyAffix(e, s, args, strings.HasPrefix) },
		"endswith":   func(e *env, s string, args []Value) Value { return anyAffix(e, s, args, strings.HasSuffix) },
		"replace": func(e *env, s string, args []Value) Value {
			return replaceAll(e, s, e.required(args, 0), e.required(args, 1), e.intArg(args, 2, -1))
		},
		"find": func(e *env, s string, args []Value) Value {
			at := strings.Index(s, e.required(args, 0))
			if at > 0 {
				at = utf8.RuneCountInString(s[:at])
			}
			return int64(at)
		},
		"count": func(e *env, s string, args []Value) Value { return int64(strings.Count(s, e.required(args, 0))) },
		"join": func(e *env, s string, args []Value) Value {
			if len(args) == 0 {
				e.fail("join needs a sequence")
			}
			for _, x := range e.iterate(args[0]) {
				if _, ok := x.(string); !ok {
					e.fail("join got %s among the strings", kind(x))
				}
			}
			return join(e, e.iterate(args[0]), s)
		},
		"isdigit": func(_ *env, s string, _ []Value) Value { return all(s, unicode.IsDigit) },
		"isalpha": func(_ *env, s string, _ []Value) Value { return all(s, unicode.IsLetter) },
		"isspace": func(_ *env, s string, _ []Value) Value { return all(s, isSpace) },
		"removeprefix": func(e *env, s string, args []Value) Value {
			return strings.TrimPrefix(s, e.required(args, 0))
		},
		"removesuffix": func(e *env, s string, args []Value) Value {
			return strings.TrimSuffix(s, e.required(args, 0))
		},
	}
}

func all(s string, is func(rune) bool) bool {
	return s != "" && strings.IndexFunc(s, func(r rune) bool { return !is(r) }) < 0
}

func strip(e *env, s string, args []Value, left, right bool) string {
	in := isSpace
	if len(args) > 0 && args[0] != nil {
		chars := e.stringArg(args, 0, "")
		e.spend(len(chars) * len(s) / 64)
		in = func(r rune) bool { return strings.ContainsRune(chars, r) }
	}
	if left {
		s = strings.TrimLeftFunc(s, in)
	}
	if right {
		s = strings.TrimRightFunc(s, in)
	}
	return s
}

func splitString(e *env, s string, args []Value, fromRight bool) Value {
	limit := e.intArg(args, 1, -1)
	var parts []string
	if len(args) == 0 || args[0] == nil {
		parts = fields(s, limit, fromRight)
	} else {
		sep := e.stringArg(args, 0, "")
		if sep == "" {
			e.fail("split got an empty separator")
		}
		e.allocate(32 * (strings.Count(s, sep) + 1))
		switch {
		case limit < 0:
			parts = strings.Split(s, sep)
		case fromRight:
			for ; limit > 0; limit-- {
				at := strings.LastIndex(s, sep)
				if at < 0 {
					break
				}
				parts = append(parts, s[at+len(sep):])
				s = s[:at]
			}
			parts = append(parts, s)
			slices.Reverse(parts)
		default:
			parts = strings.SplitN(s, sep, limit+1)
		}
	}
	e.allocate(32 * len(parts))
	l := &List{Items: make([]Value, len(parts))}
	for i, p := range parts {
		l.Items[i] = p
	}
	return l
}

// fields is split() without separator: runs of white space separate, and at most limit cuts are made where it is not negative.
func fields(s string, limit int, fromRight bool) []string {
	var parts []string
	if fromRight && limit >= 0 {
		for s = strings.TrimRightFunc(s, isSpace); s != ""; s = strings.TrimRightFunc(s, isSpace) {
			cut := 0 // where the last part begins
			if at := strings.LastIndexFunc(s, isSpace); at >= 0 && len(parts) < limit {
				_, size := utf8.DecodeRuneInString(s[at:])
				cut = at + size
			}
			parts = append(parts, s[cut:])
			s = s[:cut]
		}
		slices.Reverse(parts)
		return parts
	}
	for s = strings.TrimLeftFunc(s, isSpace); s != ""; s = strings.TrimLeftFunc(s, isSpace) {
		at := strings.IndexFunc(s, isSpace)
		if at < 0 || limit >= 0 && len(parts) == limit {
			at = len(s)
		}
		parts = append(parts, s[:at])
		s = s[at:]
	}
	return parts
}

func anyAffix(e *env, s string, args []Value, has func(s, affix string) bool) Value {
	if len(args) == 1 {
		if l, ok := args[0].(*List); ok {
			for _, x := range l.Items {
				if affix, ok := x.(string); ok && has(s, affix) {
					return true
				}
			}
			return false
		}
	}
	return has(s, e.required(args, 0))
}

// replaceAll replaces old by replacement, at most n times where n is not negative.
func replaceAll(e *env, s, old, replacement string, n int) string {
	count := strings.Count(s, old)
	if n >= 0 {
		count = min(count, n)
	}
	e.repeat(max(1, len(replacement)), int64(count))
	return strings.Replace(s, old, replacement, n)
}

func join(e *env, parts []Value, sep string) string {
	var b strings.Builder
	for i, x := range parts {
		if i > 0 {
			e.allocate(len(sep))
			b.WriteString(sep)
		}
		s := e.str(x)
		e.allocate(len(s))
		b.WriteString(s)
	}
	return b.String()
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
