package tokenizer

import (
	"encoding/binary"
	"math"
	"slices"
)

// bpe turns pieces into ids: it starts from single bytes (or characters) and joins, again and again, the adjacent pair
// that comes first in the list of merges, the leftmost of equal pairs (Sennrich et al. 2016, "Neural Machine
// Translation of Rare Words with Subword Units").
type bpe struct {
	vocab        *vocab
	pairs        pairTable
	byteID       [256]int32 // byte-level: the token of a byte; byte fallback: the token <0xXX>; -1 where there is none
	asciiID      [128]int32 // character level: tokens of ASCII characters
	byteFallback bool
	fuseUnknown  bool
	ignoreMerges bool  // a piece that is itself a token is not merged
	unknown      int32 // -1: characters without a token vanish
}

// pairTable maps a pair of ids to rank<<32|id of what it merges into, by open addressing.
type pairTable struct {
	slots []pairSlot
	shift uint
	count int
}

type pairSlot struct{ key, value uint64 }

// noMerge is what find returns for a pair that does not merge. It is greater than every merge.
const noMerge = math.MaxUint64

func newPairTable(n int) pairTable {
	bits := uint(8)
	for 1<<bits < n+n/2 {
		bits++
	}
	slots := make([]pairSlot, 1<<bits)
	return pairTable{slots: slots, shift: 64 - bits}
}

// add enters a pair; a repeated pair takes the later rank.
func (t *pairTable) add(s pairSlot) {
	if 5*t.count > 4*len(t.slots) {
		old := t.slots
		*t = newPairTable(2 * t.count)
		for _, s := range old {
			if s.key != 0 {
				t.put(s)
			}
		}
	}
	t.put(s)
}

func (t *pairTable) put(s pairSlot) {
	p := t.home(s.key)
	for t.slots[p].key != s.key {
		if t.slots[p].key == 0 {
			t.count++
			break
		}
		p = (p + 1) & (len(t.slots) - 1)
	}
	t.slots[p] = s
}

func (t *pairTable) find(left, right int32) uint64 {
	key := pairKey(left, right)
	for p := t.home(key); ; p = (p + 1) & (len(t.slots) - 1) {
		s := &t.slots[p]
		if s.key == key {
			return s.value
		}
		if s.key == 0 {
			return noMerge
		}
	}
}

func (t *pairTable) home(key uint64) int { return int(key * 0x9E3779B97F4A7C15 >> t.shift) }

// pairKey is never 0: ids are counted from 1 in it.
func pairKey(left, right int32) uint64 { return uint64(uint32(left+1))<<32 | uint64(uint32(right+1)) }

// state is what one encoding goroutine needs; a Tokenizer keeps spare ones.
type state struct {
	text  []byte // the text, with padding behind
	ids   []int32
	next  []uint64 // next[i]: merge of ids[i] with its right neighbour, or noMerge
	cache []cached
	long  longMerge
}

// A cached piece: up to 15 bytes with the length in the last one, and up to 4 ids of 24 bits with their number above
// the first.
type cached struct {
	lo, hi uint64
	ids    [4]uint32
}

const (
	padding    = 16 // bytes behind every text, so that 16 bytes can be loaded anywhere
	cacheBits  = 14 // 16384 pieces, 512 kB
	maxKey     = 15 // longest cached piece
	shortPiece = 96 // symbols up to which a linear scan for the best pair beats a heap
)

// pad copies text into a buffer with padding behind it.
func pad(buf []byte, text string) []byte {
	buf = append(buf[:0], text...)
	n := len(buf)
	return append(buf, make([]byte, padding)...)[:n]
}

// encode appends the ids of a piece, which is followed by padding or more text in its array.
func (m *bpe) encode(st *state, out []int32, piece []byte) []int32 {
	if len(piece) > maxKey {
		return m.merge(st, out, piece)
	}
	full := piece[:padding]
	lo, hi := binary.LittleEndian.Uint64(full), binary.LittleEndian.Uint64(full[8:])
	if n := uint(len(piece)); n < 8 {
		lo, hi = lo&(1<<(8*n)-1), 0
	} else {
		hi &= 1<<(8*(n-8)) - 1
	}
	hi |= uint64(len(piece)) << 56
	e := &st.cache[mix(lo^0x9E3779B97F4A7C15, hi^0xD6E8FEB86659FD93)>>(64-cacheBits)]
	if e.lo == lo && e.hi == hi {
		n := e.ids[0] >> 24
		out = append(out, int32(e.ids[0]&maxID), int32(e.ids[1]), int32(e.ids[2]), int32(e.ids[3]))
		return out[:len(out)-4+int(n)]
	}
	start := len(out)
	out = m.merge(st, out, piece)
	if n := len(out) - start; n > 0 && n <= 4 {
		*e = cached{lo: lo, hi: hi}
		for i, id := range out[start:] {
			e.ids[i] = uint32(id)
		}
		e.ids[0] |= uint32(n) << 24
	}
	return out
}

// merge is encode without the cache.
func (m *bpe) merge(st *state, out []int32, piece []byte) []int32 {
	if m.ignoreMerges {
		if id := m.vocab.find(piece); id >= 0 {
			return append(out, id)
		}
	}
	ids := m.symbols(st.ids[:0], piece)
	st.ids = ids
	if len(ids) > shortPiece {
		return st.long.merge(&m.pairs, out, ids)
	}
	next := slices.Grow(st.next[:0], len(ids)+1)[:len(ids)]
	st.next = next
	for i := 0; i+1 < len(ids); i++ {
		next[i] = m.pairs.find(ids[i], ids[i+1])
	}
	for n := len(ids); n > 1; n-- {
		best, at := uint64(noMerge), 0
		for i, v := range next[:n-1] {
			if v < best {
				best, at = v, i
			}
		}
		if best == noMerge {
			ids = ids[:n]
			break
		}
		ids[at] = int32(uint32(best))
		copy(ids[at+1:n-1], ids[at+2:n])
		copy(next[at+1:n-1], next[at+2:n])
		if at > 0 {
			next[at-1] = m.pairs.find(ids[at-1], ids[at])
		}
		if at+1 < n-1 {
			next[at] = m.pairs.find(ids[at], ids[at+1])
		}
		ids = ids[:n-1]
	}
	return append(out, ids...)
}

// symbols appends the ids that merging starts from. The unknown token is appended only when the next known character
// follows, so that a run of unknown characters can become one token. As in the reference, bytes of a byte fallback are
// placed before a waiting unknown token.
func (m *bpe) symbols(ids []int32, piece []byte) []int32 {
	waiting := false
	flush := func() {
		if waiting {
			ids, waiting = append(ids, m.unknown), false
		}
	}
	add := func(id int32) {
		if id >= 0 {
			flush()
			ids = append(ids, id)
			return
		}
		if !m.fuseUnknown {
			flush()
		}
		waiting = m.unknown >= 0
	}
	if m.vocab.byteLevel {
		for _, c := range piece {
			if id := m.byteID[c]; id >= 0 && !waiting {
				ids = append(ids, id)
			} else {
				add(id)
			}
		}
		flush()
		return ids
	}
	for i := 0; i < len(piece); {
		if c := piece[i]; c < 128 && m.asciiID[c] >= 0 {
			add(m.asciiID[c])
			i++
			continue
		}
		_, n := classAt(piece, i)
		char := piece[i : i+n]
		i += n
		id := m.vocab.find(char)
		if id < 0 && m.fallback(char) {
			for _, c := range char {
				ids = append(ids, m.byteID[c])
			}
			continue
		}
		add(id)
	}
	flush()
	return ids
}

// fallback reports whether every byte of a character has a byte token.
func (m *bpe) fallback(char []byte) bool {
	if !m.byteFallback {
		return false
	}
	for _, c := range char {
		if m.byteID[c] < 0 {
			return false
		}
	}
	return true
}
