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
	slots     []uint64       // open addressing: upper half of the hash, id+1; 0 is free
	raw       map[int32]bool // byte-level: tokens with characters outside the alphabet, kept as they are written
	rawIDs    map[string]int32
	byteLevel bool
	count     int
}

// A span is a token's place in the arena; end is 0 for ids that have no token.
type span struct{ start, end uint32 }

// maxID bounds ids: the cache of encoded pieces packs them into 24 bits, and one hostile id must not allocate gigabytes.
const maxID = 1<<24 - 1

func newVocab(byteLevel bool, sizeHint int) *vocab {
	n := 1 << bits.Len(uint(sizeHint*3/2|255))
	return &vocab{
		arena: make([]byte, 1, 8*sizeHint+64), spans: make([]span, 0, sizeHint+512), slots: make([]uint64, n),
		raw: map[int32]bool{}, rawIDs: map[string]int32{}, byteLevel: byteLevel,
	}
}

// add enters a token of the model, as tokenizer.json writes it, so that find knows it.
func (v *vocab) add(id int, token []byte) error {
	if err := v.put(id, token); err != nil {
		return err
	}
	if v.raw[int32(id)] {
		v.rawIDs[string(token)] = int32(id)
		return nil
	}
	if v.count++; 3*v.count > 2*len(v.slots) {
		v.grow()
	}
	v.insert(v.bytes(int32(id)), int32(id))
	return nil
}

// put enters a token that find does not know, such as an added one.
func (v *vocab) put(id int, token []byte) error {
	if id < 0 || id > maxID {
		return fmt.Errorf("token id %d is outside 0..%d", id, maxID)
	}
	start := len(v.arena)
	spelled := false
	if v.byteLevel {
		if v.arena, spelled = fromAlphabet(v.arena, token); !spelled {
			v.raw[int32(id)] = true
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

func (v *vocab) insert(b []byte, id int32) {
	h := hashBytes(b)
	mask := uint64(len(v.slots) - 1)
	for p := h & mask; ; p = (p + 1) & mask {
		s := v.slots[p]
		if s == 0 || s>>32 == h>>32 && string(v.bytes(int32(uint32(s))-1)) == string(b) { // a repeated token: the last one counts
			v.slots[p] = h>>32<<32 | uint64(id+1)
			return
		}
	}
}

func (v *vocab) grow() {
	old := v.slots
	v.slots = make([]uint64, 2*len(old))
	for _, s := range old {
		if s != 0 {
			id := int32(uint32(s)) - 1
			v.insert(v.bytes(id), id)
		}
	}
}

// find returns the id of the token with these bytes, -1 if there is none.
func (v *vocab) find(b []byte) int32 {
	h := hashBytes(b)
	mask := uint64(len(v.slots) - 1)
	for p := h & mask; ; p = (p + 1) & mask {
		s := v.slots[p]
		if s == 0 {
			return -1
		}
		if s>>32 == h>>32 {
			if id := int32(uint32(s)) - 1; string(v.bytes(id)) == string(b) {
				return id
			}
		}
	}
}

// bytes returns the token's bytes (which may be none), nil where the id has no token.
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

// hashBytes mixes eight bytes a step by the high and low halves of a 128-bit product.
func hashBytes(b []byte) uint64 {
	const k0, k1 = 0x9E3779B97F4A7C15, 0xD6E8FEB86659FD93
	h := uint64(len(b)) * k1
	for len(b) >= 8 {
		h = mix(h^binary.LittleEndian.Uint64(b), k0)
		b = b[8:]
	}
	var tail uint64
	if len(b) >= 4 {
		tail = uint64(binary.LittleEndian.Uint32(b)) | uint64(binary.LittleEndian.Uint32(b[len(b)-4:]))<<32
	} else if len(b) > 0 {
		tail = uint64(b[0]) | uint64(b[len(b)/2])<<8 | uint64(b[len(b)-1])<<16
	}
	return mix(h^tail, k1)
}

func mix(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}
