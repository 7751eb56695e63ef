package jinja

import (
	"strings"
	"unicode/utf8"
)

// Text is a string, with a mark on every byte that comes from the conversation rather than from the template (taint
// tracking). All operations of a template keep the marks, so that the caller can tell what a message says from what the
// template says.
type Text struct {
	s    string
	mask string // 1 for a marked byte of s, else 0; "" where no byte is marked
}

// String returns the text without its marks.
func (t Text) String() string { return t.s }

// Mask returns a 1 for every marked byte of the text and a 0 for the others; "" where no byte is marked.
func (t Text) Mask() string { return t.mask }

const mark = "\x01"

// marked marks all of s if tainted.
func marked(s string, tainted bool) Text {
	if !tainted {
		return Text{s: s}
	}
	return Text{s, strings.Repeat(mark, len(s))}
}

// Taint returns v with every string in it marked, the keys of its dicts included.
func Taint(v Value) Value {
	switch v := v.(type) {
	case Text:
		return marked(v.s, true)
	case *List:
		l := &List{make([]Value, len(v.Items)), v.tuple}
		for i, x := range v.Items {
			l.Items[i] = Taint(x)
		}
		return l
	case *Dict:
		d := &Dict{tainted: true}
		for _, k := range v.Keys {
			d.Set(k, Taint(v.values[k]))
		}
		return d
	}
	return v
}

// cut is s[i:j].
func (t Text) cut(i, j int) Text {
	if t.mask == "" {
		return Text{s: t.s[i:j]}
	}
	return Text{t.s[i:j], t.mask[i:j]}
}

// rewrite is f of the text. Where f keeps the length every byte keeps its mark; elsewhere all of the result is marked
// if any byte was.
func (t Text) rewrite(f func(string) string) Text {
	s := f(t.s)
	if t.mask != "" && len(s) == len(t.mask) {
		return Text{s, t.mask}
	}
	return marked(s, strings.Contains(t.mask, mark))
}

// trim cuts off characters at the left and the right end.
func (t Text) trim(in func(rune) bool, left, right bool) Text {
	i, j := 0, len(t.s)
	if left {
		i = j - len(strings.TrimLeftFunc(t.s, in))
	}
	if right {
		j = max(i, len(strings.TrimRightFunc(t.s, in)))
	}
	return t.cut(i, j)
}

// split is strings.SplitN by separators of sep.
func (t Text) split(sep string, n int) []Text {
	var parts []Text
	for n < 0 || len(parts) < n-1 {
		at := strings.Index(t.s, sep)
		if at < 0 {
			break
		}
		parts = append(parts, t.cut(0, at))
		t = t.cut(at+len(sep), len(t.s))
	}
	return append(parts, t)
}

// A textBuilder puts texts together.
type textBuilder struct {
	s    strings.Builder
	mask []byte // of the beginning of s; what it does not reach is not marked
}

func (b *textBuilder) write(t Text) {
	if t.mask != "" {
		b.pad()
		b.mask = append(b.mask, t.mask...)
	}
	b.s.WriteString(t.s)
}

// plain writes what is not marked.
func (b *textBuilder) plain(s string) { b.s.WriteString(s) }

func (b *textBuilder) pad() { b.mask = append(b.mask, make([]byte, b.s.Len()-len(b.mask))...) }

func (b *textBuilder) text() Text {
	if b.mask == nil {
		return Text{s: b.s.String()}
	}
	b.pad()
	return Text{b.s.String(), string(b.mask)}
}

// eachRune calls f with every character of the text.
func (t Text) eachRune(f func(r rune, char Text)) {
	for i := 0; i < len(t.s); {
		r, n := utf8.DecodeRuneInString(t.s[i:])
		f(r, t.cut(i, i+n))
		i += n
	}
}
