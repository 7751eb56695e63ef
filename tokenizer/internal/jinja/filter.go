package jinja

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

type filterFunc func(e *env, v Value, args []Value, named *Dict) Value

// filters is filled by init, as some filters look others up.
var filters map[string]filterFunc

func init() {
	text := func(f func(string) string) filterFunc {
		return func(e *env, v Value, _ []Value, _ *Dict) Value {
			s := e.str(v)
			e.allocate(len(s.s))
			return s.rewrite(f)
		}
	}
	list := func(f func(e *env, items []Value, args []Value, named *Dict) Value) filterFunc {
		return func(e *env, v Value, args []Value, named *Dict) Value { return f(e, e.iterate(v), args, named) }
	}
	filters = map[string]filterFunc{
		"upper": text(strings.ToUpper), "lower": text(strings.ToLower), "title": text(titleWords),
		"capitalize": text(capitalize),
		"string":     text(func(s string) string { return s }), "safe": text(func(s string) string { return s }),
		"escape": text(escapeHTML), "e": text(escapeHTML),
		"trim": func(e *env, v Value, args []Value, named *Dict) Value {
			return strip(e, e.str(v), orNamed(args, named, "chars"), true, true)
		},
		"length": length, "count": length, "tojson": toJSON, "default": defaultFilter, "d": defaultFilter,
		"int": toInt, "float": toFloat, "round": round, "abs": abs,
		"replace": func(e *env, v Value, args []Value, _ *Dict) Value {
			return replaceAll(e, e.str(v), e.required(args, 0).s, e.required(args, 1), e.intArg(args, 2, -1))
		},
		"indent": indent,
		"items": func(e *env, v Value, _ []Value, _ *Dict) Value {
			switch d := v.(type) {
			case *Dict:
				return items(e, d)
			case Undefined:
				return &List{}
			}
			e.fail("items needs a dict, not %s", kind(v))
			return nil
		},
		"dictsort": func(e *env, v Value, _ []Value, _ *Dict) Value {
			d, ok := v.(*Dict)
			if !ok {
				e.fail("dictsort needs a dict, not %s", kind(v))
			}
			l := items(e, d)
			slices.SortStableFunc(l.Items, func(a, b Value) int {
				return strings.Compare(strings.ToLower(a.(*List).Items[0].(Text).s),
					strings.ToLower(b.(*List).Items[0].(Text).s))
			})
			return l
		},
		"join": func(e *env, v Value, args []Value, named *Dict) Value {
			items := e.iterate(v)
			if name, ok := named.Get("attribute"); ok {
				items = pick(e, items, name)
			}
			return join(e, items, e.textArg(orNamed(args, named, "d"), 0))
		},
		"list":  list(func(_ *env, items []Value, _ []Value, _ *Dict) Value { return &List{Items: items} }),
		"first": list(func(_ *env, items []Value, _ []Value, _ *Dict) Value { return at(items, 0) }),
		"last":  list(func(_ *env, items []Value, _ []Value, _ *Dict) Value { return at(items, len(items)-1) }),
		"reverse": func(e *env, v Value, _ []Value, _ *Dict) Value {
			items := slices.Clone(e.iterate(v))
			e.allocate(16 * len(items))
			slices.Reverse(items)
			if _, ok := v.(Text); ok {
				return join(e, items, Text{})
			}
			return &List{Items: items}
		},
		"unique":     list(unique),
		"sort":       list(sortFilter),
		"min":        list(func(e *env, items []Value, _ []Value, _ *Dict) Value { return extreme(e, items, -1) }),
		"max":        list(func(e *env, items []Value, _ []Value, _ *Dict) Value { return extreme(e, items, 1) }),
		"sum":        list(sum),
		"map":        list(mapFilter),
		"select":     selection(false, true),
		"reject":     selection(false, false),
		"selectattr": selection(true, true),
		"rejectattr": selection(true, false),
	}
}

// orNamed appends the keyword argument to args that are empty.
func orNamed(args []Value, named *Dict, name string) []Value {
	if v, ok := named.Get(name); ok && len(args) == 0 {
		return []Value{v}
	}
	return args
}

func at(items []Value, i int) Value {
	if i < 0 || i >= len(items) {
		return Undefined{"an element of an empty sequence"}
	}
	return items[i]
}

var escapeHTML = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "'", "&#39;", `"`, "&#34;").Replace

func length(e *env, v Value, _ []Value, _ *Dict) Value {
	switch v := v.(type) {
	case Text:
		e.spend(len(v.s) / 64)
		return int64(utf8.RuneCountInString(v.s))
	case *List:
		return int64(len(v.Items))
	case *Dict:
		return int64(len(v.Keys))
	case Undefined:
		return int64(0)
	}
	e.fail("%s has no length", kind(v))
	return nil
}

// toJSON is the filter as transformers defines it: json.dumps without ASCII escapes, keys in order, nothing escaped for
// HTML.
func toJSON(e *env, v Value, args []Value, named *Dict) Value {
	w := &jsonWriter{e: e, itemSep: ", ", colonSep: ": "}
	option := func(i int, name string) Value {
		if i < len(args) {
			return args[i]
		}
		x, _ := named.Get(name)
		return x
	}
	w.ascii = truth(option(0, "ensure_ascii"))
	switch n := option(1, "indent").(type) {
	case nil:
	case Text:
		w.pretty, w.indent = true, n.s
	default:
		w.pretty, w.indent = true, strings.Repeat(" ", min(max(0, e.intArg([]Value{n}, 0, 0)), 64))
	}
	if w.pretty {
		w.itemSep = ","
	}
	if l, ok := option(2, "separators").(*List); ok && len(l.Items) == 2 {
		w.itemSep, w.colonSep = e.str(l.Items[0]).s, e.str(l.Items[1]).s
	}
	w.sorted = truth(option(3, "sort_keys"))
	w.value(v, 0)
	return w.b.text()
}

func defaultFilter(_ *env, v Value, args []Value, named *Dict) Value {
	_, missing := v.(Undefined)
	boolean, _ := named.Get("boolean")
	if len(args) > 1 {
		boolean = args[1]
	}
	if missing || truth(boolean) && !truth(v) {
		args = orNamed(args, named, "default_value")
		if len(args) == 0 {
			return Text{}
		}
		return args[0]
	}
	return v
}

func toInt(e *env, v Value, args []Value, named *Dict) Value {
	switch x := v.(type) {
	case int64, BigInt:
		return v
	case Text:
		s := strings.TrimSpace(x.s)
		if n, err := strconv.ParseInt(s, 10, 64); err == nil {
			return n
		}
		if f, err := strconv.ParseFloat(s, 64); err == nil && math.Abs(f) < 1<<63 {
			return int64(f)
		}
	default:
		if f, ok := number(v); ok && math.Abs(f) < 1<<63 {
			return int64(f)
		}
	}
	if args = orNamed(args, named, "default"); len(args) > 0 {
		return args[0]
	}
	return int64(0)
}

func toFloat(e *env, v Value, args []Value, named *Dict) Value {
	if f, ok := number(v); ok {
		return f
	}
	if s, ok := v.(Text); ok {
		if f, err := strconv.ParseFloat(strings.TrimSpace(s.s), 64); err == nil {
			return f
		}
	}
	if args = orNamed(args, named, "default"); len(args) > 0 {
		return args[0]
	}
	return 0.0
}

func round(e *env, v Value, args []Value, named *Dict) Value {
	f, ok := number(v)
	if !ok {
		e.fail("%s cannot be rounded", kind(v))
	}
	digits := min(max(e.intArg(orNamed(args, named, "precision"), 0, 0), -300), 300)
	method, _ := named.Get("method")
	if len(args) > 1 {
		method = args[1]
	}
	scale := math.Pow10(digits)
	switch e.str(method).s {
	case "ceil":
		return math.Ceil(f*scale) / scale
	case "floor":
		return math.Floor(f*scale) / scale
	}
	if n, ok := integer(v); ok && digits >= 0 {
		return n
	}
	if digits < 0 {
		return math.RoundToEven(f*scale) / scale
	}
	f, _ = strconv.ParseFloat(strconv.FormatFloat(f, 'f', digits, 64), 64) // exact, as Python's
	return f
}

func abs(e *env, v Value, _ []Value, _ *Dict) Value {
	if n, ok := integer(v); ok {
		return max(n, -n)
	}
	f, ok := number(v)
	if !ok {
		e.fail("%s has no absolute value", kind(v))
	}
	return math.Abs(f)
}

// indent puts white space before every line but the first, and not before empty ones.
func indent(e *env, v Value, args []Value, named *Dict) Value {
	s := e.str(v)
	width, _ := named.Get("width")
	if len(args) > 0 {
		width = args[0]
	}
	pad, ok := width.(Text)
	if !ok {
		pad = Text{s: strings.Repeat(" ", min(max(0, e.intArg([]Value{width}, 0, 4)), 1000))}
	}
	option := func(i int, name string) bool {
		if i < len(args) {
			return truth(args[i])
		}
		x, _ := named.Get(name)
		return truth(x)
	}
	first, blank := option(1, "first"), option(2, "blank")
	lines := s.split("\n", -1)
	e.repeat(len(pad.s)+48, int64(len(lines)))
	var out textBuilder
	for i, line := range lines {
		if i > 0 {
			out.plain("\n")
		}
		if (i > 0 || first) && (blank || line.s != "") {
			out.write(pad)
		}
		out.write(line)
	}
	return out.text()
}

// pick maps items to an attribute: a name, a dotted path, or an index.
func pick(e *env, items []Value, name Value) []Value {
	e.allocate(16 * len(items))
	out := make([]Value, len(items))
	for i, item := range items {
		out[i] = path(e, item, name)
	}
	return out
}

func path(e *env, v Value, name Value) Value {
	s, ok := name.(Text)
	if !ok {
		return (&index{&literal{v}, &literal{name}}).eval(e)
	}
	for part := range strings.SplitSeq(s.s, ".") {
		var key Value = Text{s: part}
		if n, err := strconv.ParseInt(part, 10, 64); err == nil {
			key = n
		}
		v = (&index{&literal{v}, &literal{key}}).eval(e)
	}
	return v
}

func unique(e *env, items []Value, _ []Value, _ *Dict) Value {
	l := &List{}
	for _, x := range items {
		folded := fold(x)
		if !slices.ContainsFunc(l.Items, func(y Value) bool { return e.equal(folded, fold(y), 0) }) {
			e.allocate(16)
			l.Items = append(l.Items, x)
		}
	}
	return l
}

// fold returns the value that filters compare when they ignore case.
func fold(v Value) Value {
	if s, ok := v.(Text); ok {
		return s.rewrite(strings.ToLower)
	}
	return v
}

func sortFilter(e *env, list []Value, args []Value, named *Dict) Value {
	e.allocate(32 * len(list))
	sorted, keys := slices.Clone(list), list
	option := func(i int, name string) Value {
		if i < len(args) {
			return args[i]
		}
		v, _ := named.Get(name)
		return v
	}
	if name := option(2, "attribute"); name != nil {
		keys = pick(e, list, name)
	}
	order := make([]int, len(list))
	for i := range order {
		order[i] = i
	}
	key := func(i int) Value {
		if truth(option(1, "case_sensitive")) {
			return keys[i]
		}
		return fold(keys[i])
	}
	reverse := truth(option(0, "reverse"))
	slices.SortStableFunc(order, func(a, b int) int {
		if reverse {
			a, b = b, a
		}
		return e.compare(key(a), key(b), 0)
	})
	for i, k := range order {
		sorted[i] = list[k]
	}
	return &List{Items: sorted}
}

func extreme(e *env, list []Value, sign int) Value {
	best := at(list, 0)
	for _, v := range list[min(1, len(list)):] {
		if e.compare(fold(v), fold(best), 0)*sign > 0 {
			best = v
		}
	}
	return best
}

func sum(e *env, list []Value, args []Value, named *Dict) Value {
	if name, ok := named.Get("attribute"); ok {
		list = pick(e, list, name)
	}
	var total Value = int64(0)
	for _, v := range list {
		total = (&binary{"+", &literal{total}, &literal{v}}).eval(e)
	}
	return total
}

func mapFilter(e *env, list []Value, args []Value, named *Dict) Value {
	if name, ok := named.Get("attribute"); ok {
		out := pick(e, list, name)
		if d, ok := named.Get("default"); ok {
			for i, v := range out {
				if _, missing := v.(Undefined); missing {
					out[i] = d
				}
			}
		}
		return &List{Items: out}
	}
	f := filters[e.required(args, 0).s]
	if f == nil {
		e.fail("the filter %q is not supported", e.str(args[0]))
	}
	e.allocate(16 * len(list))
	out := make([]Value, len(list))
	for i, v := range list {
		out[i] = f(e, v, args[1:], named)
	}
	return &List{Items: out}
}

// selection is select, reject, selectattr and rejectattr.
func selection(byAttribute, keep bool) filterFunc {
	return func(e *env, v Value, args []Value, _ *Dict) Value {
		var name Value
		if byAttribute {
			if len(args) == 0 {
				e.fail("selectattr and rejectattr need an attribute")
			}
			name, args = args[0], args[1:]
		}
		is := func(_ *env, v Value, _ []Value) bool { return truth(v) }
		if len(args) > 0 {
			if is = tests[e.required(args, 0).s]; is == nil {
				e.fail("the test %q is not supported", e.str(args[0]))
			}
			args = args[1:]
		}
		l := &List{}
		for _, item := range e.iterate(v) {
			x := item
			if byAttribute {
				x = path(e, item, name)
			}
			e.allocate(16)
			if is(e, x, args) == keep {
				l.Items = append(l.Items, item)
			}
		}
		return l
	}
}
