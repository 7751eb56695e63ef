package tokenizer

import (
	"bytes"
	"fmt"

	"github.com/zerosearch-go/zerosearch/internal/jsonscan"
)

// mergeLoader loads a file's merges, which takes most of the time to open a tokenizer. Each merge needs three look-ups
// in tables larger than the caches. So merges are loaded in blocks: all slots of a block are touched before the first
// is used, so that the processor waits for many cache misses at once.
type mergeLoader struct {
	m     *bpe
	text  []byte // of the block's merges: what each of them makes
	block []pendingMerge
	rank  int
	guess int32 // the likely next id: lists are often in the order of the resulting ids
	touch uint64
}

// pendingMerge is text[start:cut] + text[cut:end].
type pendingMerge struct {
	start, cut, end int
	left, right     tokenKey
}

const mergeBlock = 64

// loadMerges reads ["a b", ...] or [["a", "b"], ...].
func (m *bpe) loadMerges(raw []byte) error {
	m.pairs = newPairTable(countMerges(raw))
	l := &mergeLoader{m: m}
	sc := &jsonscan.Scanner{Text: raw}
	var scratch []byte
	err := sc.Array(func() error {
		p := pendingMerge{start: len(l.text)}
		if err := l.read(sc, &p, &scratch); err != nil {
			return fmt.Errorf("merge %d: %w", l.rank+len(l.block), err)
		}
		p.end = len(l.text)
		p.left, p.right = keyOf(l.text[p.start:p.cut]), keyOf(l.text[p.cut:p.end])
		if l.block = append(l.block, p); len(l.block) == mergeBlock {
			return l.flush()
		}
		return nil
	})
	if err != nil {
		return err
	}
	return l.flush()
}

// read appends the two tokens of a merge to the text.
func (l *mergeLoader) read(sc *jsonscan.Scanner, p *pendingMerge, scratch *[]byte) error {
	if sc.Peek() == '[' {
		parts := 0
		err := sc.Array(func() error {
			if parts++; parts == 2 {
				p.cut = len(l.text)
			}
			s, err := sc.Str((*scratch)[:0])
			if err != nil {
				return err
			}
			return l.token(s)
		})
		if err == nil && parts != 2 {
			err = fmt.Errorf("it has %d parts", parts)
		}
		return err
	}
	text, err := sc.Str((*scratch)[:0])
	if err != nil {
		return err
	}
	left, right, ok := bytes.Cut(text, []byte{' '})
	if !ok || bytes.IndexByte(right, ' ') >= 0 {
		return fmt.Errorf("%q is not two tokens", text)
	}
	if err := l.token(left); err != nil {
		return err
	}
	p.cut = len(l.text)
	return l.token(right)
}

func (l *mergeLoader) token(s []byte) error {
	ok := true
	if l.m.vocab.byteLevel {
		l.text, ok = fromAlphabet(l.text, s)
	} else {
		l.text = append(l.text, s...)
	}
	if !ok || len(s) == 0 {
		return fmt.Errorf("%q is not a token", s)
	}
	return nil
}

// flush adds the merges of the block.
func (l *mergeLoader) flush() error {
	v, pairs := l.m.vocab, &l.m.pairs
	for i := range l.block {
		p := &l.block[i]
		l.touch += v.slots[p.left.hash&uint64(len(v.slots)-1)].word + v.slots[p.right.hash&uint64(len(v.slots)-1)].word
	}
	var found [mergeBlock]pairSlot
	for i := range l.block {
		p := &l.block[i]
		left, right := v.findKey(p.left, l.text[p.start:p.cut]), v.findKey(p.right, l.text[p.cut:p.end])
		made := l.makes(l.text[p.start:p.end])
		if left < 0 || right < 0 || made < 0 {
			return fmt.Errorf("merge %d: %q + %q or what they make is not in the vocabulary", l.rank+i,
				l.text[p.start:p.cut], l.text[p.cut:p.end])
		}
		found[i] = pairSlot{pairKey(left, right), uint64(l.rank+i)<<32 | uint64(uint32(made))}
	}
	for i := range l.block {
		l.touch += pairs.slots[pairs.home(found[i].key)].key
	}
	for i := range l.block {
		pairs.add(found[i])
	}
	l.rank += len(l.block)
	l.text, l.block = l.text[:0], l.block[:0]
	return nil
}

// makes returns the id of a merge's result. It tries the last result's id and the next one first.
func (l *mergeLoader) makes(b []byte) int32 {
	v := l.m.vocab
	for range 2 {
		if string(v.bytes(l.guess)) == string(b) && !v.raw[l.guess] {
			return l.guess
		}
		l.guess++
	}
	id := v.find(b)
	l.guess = max(id, 0)
	return id
}

// countMerges estimates the number of merges by their quotes.
func countMerges(raw []byte) int {
	quotes := bytes.Count(raw, []byte{'"'})
	if len(raw) > 0 && bytes.HasPrefix(bytes.TrimLeft(raw[1:], " \t\r\n"), []byte{'['}) {
		return quotes / 4
	}
	return quotes / 2
}
