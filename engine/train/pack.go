package train

import (
	"fmt"
	"slices"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/model"
)

// Sequence is one token sequence to train on or to score. Its token ids are those that were sampled or read; text is
// never tokenised again.
type Sequence struct {
	IDs []int32
	// Mask[i] says that IDs[i] is trained on: its log-probability given IDs[:i] enters the loss. Mask[0] is ignored.
	Mask []bool
	// Prefix is a key of sequences that begin with the same Shared token ids (the prompt of a group); such sequences
	// should follow each other. The whole KV pages of the common part are computed once in the forward and in the
	// backward pass. If ids differ under one key, they are not shared. Prefix 0: nothing is shared.
	Prefix uint64
	Shared int
	// NoGradient says that the loss has no gradient here, such as a policy's where the advantage is 0: the forward pass
	// computes the sequence's log-probs, and the backward pass leaves it out. Such sequences are packed separately,
	// after the others; the gradient has the same bits as with their backward pass.
	NoGradient bool
}

// Trained is the number of ids that Mask selects.
func (s Sequence) Trained() int {
	n := 0
	for i := 1; i < len(s.IDs) && i < len(s.Mask); i++ {
		if s.Mask[i] {
			n++
		}
	}
	return n
}

// span is the range of one sequence's trained tokens in the targets of a packed batch.
type span struct{ seq, from, to int }

// packed is a micro-batch: sequences one after the other, without padding. Every segment has KV pages of its own,
// except for the pages of a shared prefix, which the segments that continue it list too.
type packed struct {
	batch      model.Batch
	pages      int     // KV pages in use
	targets    []int32 // the token ids that they predict
	spans      []span
	noGradient bool // no backward pass
}

// sharedLen returns how many of the first tokens of s are computed once for its group: whole pages, but never the last
// token before the first trained one, so that every row that predicts a trained token belongs to one sequence only.
func (s Sequence) sharedLen() int {
	if s.Prefix == 0 {
		return 0
	}
	n := min(s.Shared, len(s.IDs)-1)
	for i := 1; i <= n && i < len(s.Mask); i++ {
		if s.Mask[i] {
			n = i - 1
			break
		}
	}
	if n >= s.Shared {
		n = s.Shared - 1
	}
	return max(n, 0) / kernels.PageSize * kernels.PageSize
}

// packs makes the micro-batches of a step: first the sequences with a gradient, then those without.
func packs(seqs []Sequence, maxTokens int) []*packed {
	return append(pack(seqs, false, maxTokens), pack(seqs, true, maxTokens)...)
}

// pack splits those of seqs without a gradient, or those with one, in order, into micro-batches of at most maxTokens
// computed tokens each (one sequence may exceed it alone).
func pack(seqs []Sequence, noGradient bool, maxTokens int) []*packed {
	var out []*packed
	var p *packed
	var key uint64 // Prefix of the pages that are shared now
	var prefix []int32
	var prefixSeg kernels.Segment
	for i, s := range seqs {
		if s.NoGradient != noGradient {
			continue
		}
		shared := s.sharedLen()
		reuse := p != nil && shared > 0 && s.Prefix == key && slices.Equal(s.IDs[:shared], prefix)
		cost := len(s.IDs)
		if reuse {
			cost -= shared
		}
		if p == nil || len(p.batch.IDs)+cost > maxTokens {
			p, reuse = &packed{noGradient: noGradient}, false
			out = append(out, p)
		}
		if shared > 0 && !reuse {
			key, prefix, prefixSeg = s.Prefix, s.IDs[:shared], p.add(s.IDs[:shared], 0, nil)
		}
		if shared == 0 {
			key, prefix, prefixSeg = 0, nil, kernels.Segment{}
		}
		seg := p.add(s.IDs[shared:], shared, prefixSeg.Pages[:shared/kernels.PageSize])
		p.target(i, s, seg, shared)
	}
	return out
}

// add appends a segment of ids that starts at position start on top of the pages of its prefix.
func (p *packed) add(ids []int32, start int, prefix []int32) kernels.Segment {
	seg := kernels.Segment{Row: len(p.batch.IDs), Len: len(ids), Start: start}
	seg.Pages = append(seg.Pages, prefix...)
	for range kernels.PagesFor(start+len(ids)) - len(prefix) {
		seg.Pages = append(seg.Pages, int32(p.pages))
		p.pages++
	}
	for i, id := range ids {
		pos := start + i
		p.batch.IDs = append(p.batch.IDs, id)
		p.batch.Pos = append(p.batch.Pos, int32(pos))
		p.batch.Slots = append(p.batch.Slots, seg.Pages[pos/kernels.PageSize]*kernels.PageSize+int32(
			pos%kernels.PageSize))
	}
	p.batch.Segs = append(p.batch.Segs, seg)
	return seg
}

func (p *packed) target(seq int, s Sequence, seg kernels.Segment, shared int) {
	sp := span{seq: seq, from: len(p.batch.Rows)}
	for i := 1; i < len(s.IDs) && i < len(s.Mask); i++ {
		if s.Mask[i] {
			p.batch.Rows = append(p.batch.Rows, int32(seg.Row+i-1-shared))
			p.targets = append(p.targets, s.IDs[i])
		}
	}
	sp.to = len(p.batch.Rows)
	p.spans = append(p.spans, sp)
}

func check(seqs []Sequence, vocab, maxPos int) error {
	for i, s := range seqs {
		if len(s.IDs) == 0 {
			return fmt.Errorf("sequence %d is empty", i)
		}
		if len(s.Mask) != len(s.IDs) {
			return fmt.Errorf("sequence %d has %d ids and a mask of %d", i, len(s.IDs), len(s.Mask))
		}
		if maxPos > 0 && len(s.IDs) > maxPos {
			return fmt.Errorf(
				"sequence %d has %d ids, more than the %d positions of the model: shorten it or filter it out", i,
				len(s.IDs), maxPos)
		}
		for _, id := range s.IDs {
			if id < 0 || int(id) >= vocab {
				return fmt.Errorf("sequence %d: id %d is outside the vocabulary of %d: is it another tokenizer's?", i,
					id, vocab)
			}
		}
	}
	return nil
}
