package kvcache

import (
	"flag"
	"hash/maphash"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// More random cases than rapid's default, each longer; -rapid.checks still overrides.
func init() {
	for name, value := range map[string]string{"rapid.checks": "2000", "rapid.steps": "60"} {
		if err := flag.Set(name, value); err != nil {
			panic(err)
		}
	}
}

func seq(n, from int) []int32 {
	ids := make([]int32, n)
	for i := range ids {
		ids[i] = int32(from + i)
	}
	return ids
}

// fill opens, writes and commits all of ids.
func fill(t *testing.T, c *Cache, key Key, ids []int32) *Table {
	tab, _, _ := c.Open(key, ids, len(ids)-1, true)
	require.True(t, tab.Grow(len(ids)-tab.Len()))
	tab.Commit(ids[tab.Len():])
	return tab
}

func TestPoolCountsUsers(t *testing.T) {
	p := NewPool(2)
	a, ok := p.Alloc()
	require.True(t, ok)
	b, _ := p.Alloc()
	require.NotEqual(t, a, b)
	_, ok = p.Alloc()
	require.False(t, ok)
	p.Retain(a)
	p.Release(a)
	require.Equal(t, 0, p.Free())
	p.Release(a)
	require.Equal(t, 1, p.Free())
	require.PanicsWithValue(t, "kvcache: page 0 released more often than used", func() { p.Release(a) })
	require.PanicsWithValue(t, "kvcache: page 0 is free and cannot gain a user", func() { p.Retain(a) })
}

func TestGroupSharesItsPrompt(t *testing.T) {
	c := New(16)
	prompt := seq(70, 100)
	lead := fill(t, c, 0, prompt)
	require.Equal(t, []int32{0, 1, 2}, lead.Pages())

	second, cp, copied := c.Open(0, prompt, 69, true)
	require.True(t, copied, "the last page agrees in 5 of 6 tokens and is still written by the first")
	require.Equal(t, Copy{Dst: 3, Src: 2}, cp)
	require.Equal(t, []int32{0, 1, 3}, second.Pages())
	require.Equal(t, 69, second.Len())

	third, _, copied := c.Open(0, prompt, 69, false)
	require.False(t, copied)
	require.Equal(t, 64, third.Len(), "without copying only full pages are shared")
	require.Equal(t, 16-4, c.Free())
	for _, tab := range []*Table{lead, second, third} {
		tab.Close()
	}
	require.Equal(t, 16, c.Available())
}

func TestTurnContinuesOnItsPages(t *testing.T) {
	c := New(8)
	ids := seq(40, 0)
	fill(t, c, 0, ids).Close()
	longer := append(seq(40, 0), 7, 7, 7)
	tab, _, copied := c.Open(0, longer, 42, true)
	require.False(t, copied, "nobody uses the last page: it is continued, not copied")
	require.Equal(t, 40, tab.Len())
	require.Equal(t, []int32{0, 1}, tab.Pages())
}

func TestKeysAndVersionsDoNotMix(t *testing.T) {
	c := New(8)
	ids := seq(64, 0)
	fill(t, c, 0, ids).Close()
	other, _, _ := c.Open(1, ids, 63, true)
	require.Zero(t, other.Len())
	n, idle := c.Peek(0, ids, 63)
	require.Equal(t, []int{63, 2}, []int{n, idle})

	held := fill(t, c, 0, ids)
	c.Invalidate(0)
	n, _ = c.Peek(0, ids, 63)
	require.Zero(t, n)
	require.Zero(t, c.Idle())
	require.True(t, held.Grow(40))
	held.Commit(seq(40, 0)) // an old sequence may go on, but leaves nothing behind
	held.Close()
	require.Equal(t, 8, c.Free())
}

func TestTwinsMerge(t *testing.T) {
	c := New(8)
	a, _, _ := c.Open(0, nil, 0, true)
	b, _, _ := c.Open(0, nil, 0, true)
	require.True(t, a.Grow(40) && b.Grow(40))
	require.Equal(t, 4, c.Free())
	a.Commit(seq(40, 0))
	b.Commit(seq(40, 0))
	require.Equal(t, a.Pages()[0], b.Pages()[0])
	require.NotEqual(t, a.Pages()[1], b.Pages()[1])
	require.Equal(t, 5, c.Free())
	require.Equal(t, 1, c.Swaps)
	b.Commit(seq(8, 40))
	n, _ := c.Peek(0, seq(48, 0), 48)
	require.Equal(t, 48, n, "what follows a merged page is found behind its twin")
}

func TestOldestIdleGoesFirst(t *testing.T) {
	c := New(4)
	fill(t, c, 0, seq(64, 0)).Close()   // pages 0, 1
	fill(t, c, 0, seq(64, 500)).Close() // pages 2, 3
	touch, _, _ := c.Open(0, seq(64, 0), 64, false)
	touch.Close()
	tab, _, _ := c.Open(1, nil, 0, false)
	require.True(t, tab.Grow(32))
	n, _ := c.Peek(0, seq(64, 0), 64)
	require.Equal(t, 64, n, "used last")
	n, _ = c.Peek(0, seq(64, 500), 64)
	require.Equal(t, 32, n, "its deepest page went")
	require.True(t, tab.Grow(128))
	require.False(t, tab.Grow(129))
	require.Equal(t, 4, c.Evictions)
}

// TestEveryTableSeesItsOwnPrefix drives a small cache at random and keeps, beside it, what a device would hold in every
// slot.
func TestEveryTableSeesItsOwnPrefix(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) { randomCache(rt) })
}

type shadow struct {
	tab     *Table
	key     Key
	version int
	ids     []int32
}

func randomCache(rt *rapid.T) {
	pages := rapid.IntRange(1, 12).Draw(rt, "pages")
	c, slots, versions, seed := New(pages), make([]uint64, pages*pageSize), map[Key]int{}, maphash.MakeSeed()
	stamp := func(s *shadow, p int) uint64 {
		var h maphash.Hash
		h.SetSeed(seed)
		maphash.WriteComparable(&h, [2]int{int(s.key), s.version})
		for _, id := range s.ids[:p+1] {
			maphash.WriteComparable(&h, id)
		}
		return h.Sum64()
	}
	var open []*shadow
	check := func(s *shadow) {
		for p := range s.tab.Len() {
			if slots[int(s.tab.Pages()[p/pageSize])*pageSize+p%pageSize] != stamp(s, p) {
				rt.Fatalf("position %d of %v reads another sequence's key", p, s.ids)
			}
		}
	}
	var known [][]int32
	unique := int32(1)
	ids := func() []int32 {
		var head []int32
		if len(known) > 0 && rapid.Bool().Draw(rt, "reuse") {
			k := rapid.SampledFrom(known).Draw(rt, "known")
			if head = k; rapid.Bool().Draw(rt, "part") {
				head = k[:rapid.IntRange(0, len(k)).Draw(rt, "head")]
			}
		}
		all := append(append([]int32{}, head...), rapid.SliceOfN(rapid.Int32Range(0, 1), 1, 70).Draw(rt, "tail")...)
		known = append(known, all)
		return all
	}
	rt.Repeat(map[string]func(*rapid.T){
		"open": func(rt *rapid.T) {
			s := &shadow{ids: ids(), key: Key(rapid.IntRange(0, 1).Draw(rt, "key"))}
			s.version = versions[s.key]
			limit := rapid.SampledFrom([]int{len(s.ids) - 1, len(s.ids), len(s.ids) / 2}).Draw(rt, "limit")
			want, idle := c.Peek(s.key, s.ids, limit)
			before := c.Idle()
			var cp Copy
			var copied bool
			s.tab, cp, copied = c.Open(s.key, s.ids, limit, rapid.Bool().Draw(rt, "copying"))
			if s.tab.Len() > want || s.tab.Len() < want-want%pageSize || s.tab.Len() > limit ||
				c.Idle() < before-idle-1 {
				rt.Fatalf("opened %d of %d tokens, limit %d", s.tab.Len(), want, limit)
			}
			if copied {
				copy(slots[int(cp.Dst)*pageSize:int(cp.Dst+1)*pageSize],
					slots[int(cp.Src)*pageSize:int(cp.Src+1)*pageSize])
			}
			check(s)
			s.ids = s.ids[:s.tab.Len()]
			open = append(open, s)
		},
		"write": func(rt *rapid.T) {
			if len(open) == 0 {
				rt.Skip("none open")
			}
			s := rapid.SampledFrom(open).Draw(rt, "who")
			more := ids()
			if rapid.Bool().Draw(rt, "unlike") {
				unique++
				more = []int32{unique}
			}
			if !s.tab.Grow(len(more)) {
				return
			}
			n := len(s.ids)
			s.ids = append(append([]int32{}, s.ids...), more...)
			for p := n; p < len(s.ids); p++ {
				slots[int(s.tab.Pages()[p/pageSize])*pageSize+p%pageSize] = stamp(s, p)
			}
			s.tab.Commit(more)
			known = append(known, s.ids)
		},
		"close": func(rt *rapid.T) {
			if len(open) == 0 {
				rt.Skip("none open")
			}
			i := rapid.IntRange(0, len(open)-1).Draw(rt, "who")
			open[i].tab.Close()
			open = append(open[:i], open[i+1:]...)
		},
		"invalidate": func(rt *rapid.T) {
			key := Key(rapid.IntRange(0, 1).Draw(rt, "key"))
			c.Invalidate(key)
			versions[key]++
		},
		"": func(rt *rapid.T) {
			held := map[int32]bool{}
			for _, s := range open {
				check(s)
				for _, p := range s.tab.Pages() {
					held[p] = true
				}
				if s.tab.src != nil {
					held[s.tab.src.page] = true
				}
			}
			if len(held)+c.Free()+c.Idle() != pages {
				rt.Fatalf("%d held + %d free + %d idle are not %d pages", len(held), c.Free(), c.Idle(), pages)
			}
			for key, root := range c.roots {
				if root.tables == 0 && len(root.kids) == 0 {
					rt.Fatalf("key %d is kept for nothing", key)
				}
			}
			for n := c.idle.oldest; n != nil; n = n.next {
				if len(n.kids) > 0 && n == c.idle.oldest {
					rt.Fatalf("the oldest idle page has children")
				}
			}
		},
	})
	for _, s := range open {
		s.tab.Close()
	}
	if c.Available() != pages {
		rt.Fatalf("%d of %d pages left after all have closed", c.Available(), pages)
	}
	last, _, _ := c.Open(99, nil, 0, false)
	if !last.Grow(pages*pageSize) || len(c.roots) != 1 {
		rt.Fatalf("%d keys are kept though one table has all pages", len(c.roots))
	}
	last.Close()
}
