package tokenizer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
)

// A sentencepiece model file is one protocol-buffer message (sentencepiece_model.proto). The reader takes what BPE
// models such as Llama 2's need: pieces with scores and types, and the normaliser's switches.

// Types of pieces.
const (
	pieceUnknown     = 2
	pieceControl     = 3
	pieceUserDefined = 4
	pieceUnused      = 5
	pieceByte        = 6
)

type spPiece struct {
	text  []byte
	score float32
	kind  uint64
}

type spModel struct {
	pieces       []spPiece
	modelType    uint64 // 1 unigram, 2 BPE
	bos, eos     uint64
	charsmap     int  // bytes of precompiled normalisation
	dummyPrefix  bool // a space in front of the text
	removeSpaces bool
	escapeSpaces bool
	byteFallback bool
}

var errProto = errors.New("damaged sentencepiece model")

// fields calls f with each field of a message: v is the value of a varint or the bits of a fixed-size one, b the bytes
// of a length-delimited one.
func fields(msg []byte, f func(number, v uint64, b []byte) error) error {
	for len(msg) > 0 {
		tag, n := binary.Uvarint(msg)
		if n <= 0 {
			return errProto
		}
		msg = msg[n:]
		var v uint64
		var b []byte
		switch tag & 7 {
		case 0:
			if v, n = binary.Uvarint(msg); n <= 0 {
				return errProto
			}
		case 1, 5:
			if n = 8; tag&7 == 5 {
				n = 4
			}
			if len(msg) < n {
				return errProto
			}
			if v = uint64(binary.LittleEndian.Uint32(msg)); n == 8 {
				v = binary.LittleEndian.Uint64(msg)
			}
		case 2:
			size, k := binary.Uvarint(msg)
			if k <= 0 || size > uint64(len(msg)-k) {
				return errProto
			}
			n = k + int(size)
			b = msg[k:n]
		default:
			return errProto
		}
		msg = msg[n:]
		if err := f(tag>>3, v, b); err != nil {
			return err
		}
	}
	return nil
}

func readSentencepiece(data []byte) (*spModel, error) {
	m := &spModel{modelType: 1, bos: 1, eos: 2, dummyPrefix: true, removeSpaces: true, escapeSpaces: true}
	err := fields(data, func(number, _ uint64, b []byte) error {
		switch number {
		case 1: // pieces
			p := spPiece{kind: 1}
			err := fields(b, func(number, v uint64, b []byte) error {
				switch number {
				case 1:
					p.text = b
				case 2:
					p.score = math.Float32frombits(uint32(v))
				case 3:
					p.kind = v
				}
				return nil
			})
			m.pieces = append(m.pieces, p)
			return err
		case 2: // trainer_spec
			return fields(b, func(number, v uint64, _ []byte) error {
				switch number {
				case 3:
					m.modelType = v
				case 35:
					m.byteFallback = v != 0
				case 41:
					m.bos = v
				case 42:
					m.eos = v
				}
				return nil
			})
		case 3: // normalizer_spec
			return fields(b, func(number, v uint64, b []byte) error {
				switch number {
				case 2:
					m.charsmap = len(b)
				case 3:
					m.dummyPrefix = v != 0
				case 4:
					m.removeSpaces = v != 0
				case 5:
					m.escapeSpaces = v != 0
				}
				return nil
			})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	switch {
	case len(m.pieces) == 0:
		return nil, errors.New("no pieces: not a sentencepiece model")
	case m.modelType != 2:
		return nil, fmt.Errorf("sentencepiece model type %d is not supported, only 2 (BPE)", m.modelType)
	case m.charsmap > 0 || m.removeSpaces || !m.escapeSpaces:
		return nil,
			errors.New("sentencepiece normalisation rules are not supported: convert the model to tokenizer.json")
	}
	return m, nil
}

// parseSentencepiece builds a Tokenizer from a tokenizer.model.
func parseSentencepiece(data []byte) (*Tokenizer, error) {
	loadClasses()
	sp, err := readSentencepiece(data)
	if err != nil {
		return nil, err
	}
	v := newVocab(false, len(sp.pieces), len(data))
	t := &Tokenizer{decoding: decoding{metaspace: true, byteFallback: sp.byteFallback, stripSpace: sp.dummyPrefix}}
	t.model = bpe{vocab: v, byteFallback: sp.byteFallback, fuseUnknown: true, unknown: -1}
	t.normalize = replace(" ", metaspace)
	if sp.dummyPrefix {
		t.normalize = chain([]normalizer{prepend(metaspace), t.normalize})
	}
	var added []addedToken
	for id, p := range sp.pieces {
		switch p.kind {
		case pieceUnknown, pieceControl, pieceUserDefined: // never the result of a merge
			added = append(added, addedToken{Content: string(p.text), Special: p.kind != pieceUserDefined})
			if err := v.put(id, p.text); err != nil {
				return nil, err
			}
			v.rawIDs[string(p.text)] = int32(id) // found by name only
			if p.kind == pieceUnknown {
				t.model.unknown = int32(id)
			}
			continue
		}
		if err := v.add(id, p.text); err != nil {
			return nil, err
		}
	}
	t.added.base = len(sp.pieces)
	t.model.pairs = pairsByScore(v, sp.pieces)
	if err := t.addTokens(added); err != nil {
		return nil, err
	}
	control := func(id uint64) []int32 {
		if id < uint64(len(sp.pieces)) && sp.pieces[id].kind == pieceControl {
			return []int32{int32(id)}
		}
		return nil
	}
	t.bos, t.eos = control(sp.bos), control(sp.eos)
	t.template.before = t.bos
	t.finish()
	return t, nil
}

// pairsByScore lists all pairs of pieces whose concatenation is a piece. sentencepiece merges the pair whose result has
// the highest score; if scores are equal, the earlier piece, as in conversions to tokenizer.json.
func pairsByScore(v *vocab, pieces []spPiece) pairTable {
	type pair struct{ left, right, id int32 }
	var pairs []pair
	for id, p := range pieces {
		if p.kind != 1 {
			continue
		}
		for cut := 1; cut < len(p.text); cut++ {
			if left, right := v.find(p.text[:cut]), v.find(p.text[cut:]); left >= 0 && right >= 0 &&
				mergeable(pieces[left]) && mergeable(pieces[right]) {
				pairs = append(pairs, pair{left, right, int32(id)})
			}
		}
	}
	slices.SortStableFunc(pairs, func(a, b pair) int {
		switch sa, sb := pieces[a.id].score, pieces[b.id].score; {
		case sa > sb:
			return -1
		case sa < sb:
			return 1
		}
		return 0
	})
	t := newPairTable(len(pairs))
	for rank, p := range pairs {
		t.add(pairSlot{pairKey(p.left, p.right), uint64(rank)<<32 | uint64(uint32(p.id))})
	}
	return t
}

// mergeable reports whether a piece takes part in merges. Byte pieces and unused ones do not.
func mergeable(p spPiece) bool { return p.kind != pieceByte && p.kind != pieceUnused }
