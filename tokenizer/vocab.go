package tokenizer

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"unicode/utf8"
)

// vocab maps ids to the bytes of their tokens and back. All bytes lie in one arena.
type vocab struct {
	arena     []byte
	spans     []span         // by id
	slots     []vocabSlot    // open addressing by bytes
	raw       map[int32]bool // byte-level: tokens with characters outside the alphabet, stored as written
	rawIDs    map[string]int32
	byteLevel bool
	count     int
}

// A span is a token's byte range in the arena; end is 0 for ids without a token.
type span struct{ start, end uint32 }

// A vocabSlot is a slot of the hash table. For tokens of up to 8 bytes, a look-up reads nothing else.
type vocabSlot struct {
	word uint64 // the token's bytes if it has up to 8, else its hash
	span
	id int32 // counted from 1; 0 is a free slot
}

// maxID bounds ids: the cache of encoded pieces packs them into 24 bits, and one hostile id must not allocate
// gigabytes.
const maxID = 1<<24 - 1

// newVocab makes room for about n tokens, written in size bytes.
func newVocab(byteLevel bool, n, size int) *vocab {
	slots := 256
	for 3*slots < 4*n {
		slots *= 2
	}
	return &vocab{
		arena: make([]byte, 1, size/2+64), spans: make([]span, 0, n+512), slots: make([]vocabSlot, slots),
		raw: map[int32]bool{}, rawIDs: map[string]int32{}, byteLevel: byteLevel,
	}
}

// add adds a token of the model, as written in tokenizer.json, so that find finds it.
func (v *vocab) add(id int, token []byte) error {
	if err := v.put(id, token); err != nil {
		return err
	}
	if v.raw[int32(id)] {
		v.rawIDs[string(token)] = int32(id)
		return nil
	}
	if v.count++; 5*v.count > 4*len(v.slots) {
		v.grow()
	}
	v.insert(v.bytes(int32(id)), int32(id))
	return nil
}

// put adds a token that find does not find, such as an added token.
func (v *vocab) put(id int, token []byte) error {
	if id < 0 || id > maxID {
		return fmt.Errorf("token id %d is outside 0..%d", id, maxID)
	}
	start := len(v.arena)
	spelled := false
	if v.byteLevel {
		if v.arena, spelled = fromAlphabet(v.arena, token); !spelled {
			v.raw[int32(id)] = true
		} else if len(v.raw) > 0 {
			delete(v.raw, int32(id))
		}
	}
	if !spelled {
		if !utf8.Valid(token) {
			return fmt.Errorf("token %d is not valid UTF-8", id)
		}
		v.arena = append(v.arena, token...)
	}
	for id >= len(v.spans) {
		v.spans = append(v.spans, span{})
	}
	v.spans[id] = span{uint32(start), uint32(len(v.arena))}
	return nil
}

// insert inserts a token into the hash table.
func (v *vocab) insert(b []byte, id int32) {
	key := keyOf(b)
	mask := uint64(len(v.slots) - 1)
	for p := key.hash & mask; ; p = (p + 1) & mask {
		if s := &v.slots[p]; s.id == 0 || v.is(s, key.word, b) { // free, or the same token again: the last one wins
			*s = vocabSlot{key.word, v.spans[id], id + 1}
			return
		}
	}
}

// is reports whether a used slot holds the token b.
func (v *vocab) is(s *vocabSlot, word uint64, b []byte) bool {
	return s.word == word && int(s.end-s.start) == len(b) &&
		(len(b) <= 8 || string(v.arena[s.start:s.end]) == string(b))
}

func (v *vocab) grow() {
	old := v.slots
	v.slots = make([]vocabSlot, 2*len(old))
	for _, s := range old {
		if s.id != 0 {
			v.insert(v.arena[s.start:s.end], s.id-1)
		}
	}
}

// find returns the id of the token with these bytes, -1 if there is none.
func (v *vocab) find(b []byte) int32 { return v.findKey(keyOf(b), b) }

func (v *vocab) findKey(key tokenKey, b []byte) int32 {
	mask := uint64(len(v.slots) - 1)
	for p := key.hash & mask; ; p = (p + 1) & mask {
		s := &v.slots[p]
		if s.id == 0 {
			return -1
		}
		if v.is(s, key.word, b) {
			return s.id - 1
		}
	}
}

// bytes returns the token's bytes (possibly empty); nil if the id has no token.
func (v *vocab) bytes(id int32) []byte {
	if uint32(id) >= uint32(len(v.spans)) {
		return nil
	}
	s := v.spans[id]
	if s.end == 0 {
		return nil
	}
	return v.arena[s.start:s.end:s.end]
}

// A tokenKey is a token's hash, and the word that its slot stores.
type tokenKey struct{ hash, word uint64 }

// keyOf hashes eight bytes a step: it combines the two halves of a 128-bit product.
func keyOf(b []byte) tokenKey {
	var word uint64
	const k0, k1 = 0x9E3779B97F4A7C15, 0xD6E8FEB86659FD93
	n := len(b)
	h := uint64(n) * k1
	for len(b) > 8 {
		h = mix(h^binary.LittleEndian.Uint64(b), k0)
		b = b[8:]
	}
	switch {
	case len(b) == 8:
		word = binary.LittleEndian.Uint64(b)
	case len(b) >= 4:
		word = uint64(binary.LittleEndian.Uint32(b)) | uint64(
			binary.LittleEndian.Uint32(b[len(b)-4:]))<<(8*uint(len(b)-4))
	default:
		for i, c := range b {
			word |= uint64(c) << (8 * i)
		}
	}
	h = mix(h^word, k1)
	if n > 8 {
		word = h
	}
	return tokenKey{h, word}
}

func mix(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}
