package tokenizer

import (
	"sync"
	"unicode"
	"unicode/utf8"
)

// Character classes as the patterns of pre-tokenizers use them.
const (
	classLetter  = 1 << iota // \p{L}
	classNumber              // \p{N}
	classSpace               // \s: White_Space, so U+0085 and U+3000 but neither U+200B nor U+001C
	classMark                // \p{M}
	classNewline             // \r \n
	classWord                // \w as Unicode defines it: letters, marks, decimal digits, letter numbers, connectors
)

// classes holds the classes of every code point; loadClasses fills it once. A flat table costs 1.1 MB of address space,
// of which only the pages of scripts that occur are touched, and a look-up is one load.
var classes [unicode.MaxRune + 1]uint8

var loadClasses = sync.OnceFunc(func() {
	mark := func(t *unicode.RangeTable, class uint8) {
		for _, r := range t.R16 {
			for c := uint32(r.Lo); c <= uint32(r.Hi); c += uint32(r.Stride) {
				classes[c] |= class
			}
		}
		for _, r := range t.R32 {
			for c := r.Lo; c <= r.Hi; c += r.Stride {
				classes[c] |= class
			}
		}
	}
	mark(unicode.L, classLetter|classWord)
	mark(unicode.N, classNumber)
	mark(unicode.M, classMark|classWord)
	mark(unicode.White_Space, classSpace)
	for _, t := range []*unicode.RangeTable{unicode.Nd, unicode.Nl, unicode.Pc, unicode.Other_Alphabetic,
		unicode.Join_Control} {
		mark(t, classWord)
	}
	classes['\r'] |= classNewline
	classes['\n'] |= classNewline
})

// classAt returns the class and the width of the character of b at i. b is valid UTF-8.
func classAt(b []byte, i int) (class uint8, width int) {
	if c := b[i]; c < utf8.RuneSelf {
		return classes[c], 1
	}
	r, n := utf8.DecodeRune(b[i:])
	return classes[r], n
}

// lastWidth returns the width of the character that ends at i.
func lastWidth(b []byte, i int) int {
	w := 1
	for w < utf8.UTFMax && w < i && b[i-w]&0xC0 == 0x80 {
		w++
	}
	return w
}
