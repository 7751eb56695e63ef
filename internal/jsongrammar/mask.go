package jsongrammar

import (
	"cmp"
	"math"
	"math/bits"
	"slices"
	"unicode/utf8"
)

// Vocabulary is a list of tokens by their bytes. It may be used by many goroutines.
type Vocabulary struct {
	size   int
	tokens tokens // all
	marked tokens // those that are not plain
	plain  []plainToken
}

// plainToken is a token of whole characters that may stand in a string as they are, except quotes.
type plainToken struct {
	id         int32
	characters int32
}

// tokens are in ascending order of their bytes. shared is how many first bytes a token has in common with the one
// before.
type tokens struct {
	list   []tokenBytes
	shared []int
}

type tokenBytes struct {
	bytes string
	id    int32
}

// NewVocabulary makes the vocabulary of the ids below size. Ids without bytes, such as those of special tokens, are
// never allowed.
func NewVocabulary(size int, bytesOf func(id int32) []byte) *Vocabulary {
	v := &Vocabulary{size: size}
	for id := range int32(size) {
		b := bytesOf(id)
		if len(b) == 0 {
			continue
		}
		t := tokenBytes{string(b), id}
		v.tokens.list = append(v.tokens.list, t)
		if isPlain(b) {
			v.plain = append(v.plain, plainToken{id, int32(utf8.RuneCount(b))})
		} else {
			v.marked.list = append(v.marked.list, t)
		}
	}
	v.tokens.order()
	v.marked.order()
	return v
}

func isPlain(token []byte) bool {
	s := body
	for _, b := range token {
		if s, _ = s.next(b); s == badString || s == escape {
			return false
		}
	}
	return s == body
}

func (t *tokens) order() {
	slices.SortFunc(t.list, func(a, b tokenBytes) int { return cmp.Compare(a.bytes, b.bytes) })
	t.shared = make([]int, len(t.list))
	for i := 1; i < len(t.list); i++ {
		a, b := t.list[i-1].bytes, t.list[i].bytes
		n := 0
		for n < min(len(a), len(b)) && a[n] == b[n] {
			n++
		}
		t.shared[i] = n
	}
}

// mask is a set of ids.
type mask []uint64

func (m mask) add(id int32) { m[id/64] |= 1 << (id % 64) }

type maskKey struct {
	v *Vocabulary
	f *frame
}

// Bounds of what a grammar keeps; beyond it starts anew.
const (
	mostFrames = 1 << 19
	mostMasks  = 1 << 10
)

// mask is the set of the tokens that may follow f.
func (g *Grammar) mask(v *Vocabulary, f *frame) mask {
	key := maskKey{v, f}
	m, ok := g.masks[key]
	if ok {
		return m
	}
	m = make(mask, (v.size+63)/64)
	list := &v.tokens
	if room := f.room(); room >= 0 {
		list = &v.marked
		for _, t := range v.plain {
			if t.characters <= room {
				m.add(t.id)
			}
		}
	}
	g.walk(list, f, m)
	if len(g.masks) >= mostMasks {
		clear(g.masks)
	}
	g.masks[key] = m
	return m
}

// room is how many plain characters may follow inside a string, whatever they are; -1 if it depends on them.
func (f *frame) room() int32 {
	switch {
	case f == nil || f.of == nil || f.in != body:
		return -1
	case f.of.kind == text && f.of.max >= 0:
		return f.of.max - f.count
	case f.of.kind == text, f.of.kind == object && f.state == inKey && f.count == 0:
		return math.MaxInt32
	}
	return -1
}

// walk adds to m the tokens of a list that may follow f. Bytes that a token shares with the one before are stepped
// over once.
func (g *Grammar) walk(list *tokens, f *frame, m mask) {
	after := [][]*frame{{f}} // after[n]: the stacks after n bytes
	valid := 0               // so many bytes of the token before may follow
	for i, t := range list.list {
		if list.shared[i] > valid {
			continue
		}
		valid = list.shared[i]
		for valid < len(t.bytes) {
			if len(after) == valid+1 {
				after = append(after, nil)
			}
			after[valid+1] = g.advance(after[valid+1][:0], after[valid], t.bytes[valid])
			if len(after[valid+1]) == 0 {
				break
			}
			valid++
		}
		if valid == len(t.bytes) {
			m.add(t.id)
		}
	}
}

// advance adds to out the stacks that those of from become by b, each once.
func (g *Grammar) advance(out, from []*frame, b byte) []*frame {
	for _, f := range from {
		n := len(out)
		out = g.step(out, f, b)
		for i := n; i < len(out); {
			if slices.Contains(out[:i], out[i]) {
				out = slices.Delete(out, i, i+1)
			} else {
				i++
			}
		}
	}
	return out
}

// Matcher follows one text. It is used by one goroutine at a time.
type Matcher struct {
	g      *Grammar
	v      *Vocabulary
	stacks []*frame
	spare  []*frame
}

// Match begins a text.
func (g *Grammar) Match(v *Vocabulary) *Matcher {
	start := frame{}
	if g.bare {
		start.space = MaxSpace
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return &Matcher{g: g, v: v, stacks: []*frame{g.intern(start)}}
}

// Advance adds bytes to the text. It returns false, for good, if they may not follow.
func (m *Matcher) Advance(bytes []byte) bool {
	m.g.mu.Lock()
	defer m.g.mu.Unlock()
	if len(m.g.frames) >= mostFrames {
		clear(m.g.frames)
		clear(m.g.masks)
	}
	for _, b := range bytes {
		m.spare = m.g.advance(m.spare[:0], m.stacks, b)
		m.stacks, m.spare = m.spare, m.stacks
	}
	return len(m.stacks) > 0
}

// Complete reports whether the text may end here, and whether it is known that it must, because nothing may follow.
func (m *Matcher) Complete() (may, must bool) {
	must = true
	for _, f := range m.stacks {
		may = may || f.ends()
		must = must && f == nil
	}
	return may, may && must
}

// Allow clears the elements of allowed, one for each id, whose tokens may not follow, except those of ends where the
// text may end.
func (m *Matcher) Allow(allowed []bool, ends []int32) {
	m.g.mu.Lock()
	defer m.g.mu.Unlock()
	all := make(mask, (m.v.size+63)/64)
	for _, f := range m.stacks {
		for i, w := range m.g.mask(m.v, f) {
			all[i] |= w
		}
	}
	if may, _ := m.Complete(); may {
		for _, id := range ends {
			if id >= 0 && int(id) < m.v.size {
				all.add(id)
			}
		}
	}
	for i, w := range all {
		for not := ^w; not != 0; not &= not - 1 {
			if id := i*64 + bits.TrailingZeros64(not); id < len(allowed) {
				allowed[id] = false
			}
		}
	}
	for id := m.v.size; id < len(allowed); id++ {
		allowed[id] = false
	}
}
