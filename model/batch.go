package model

import (
	"fmt"

	"github.com/zerosearch-go/zerosearch/kernels"
)

// Batch is the input of one pass: T tokens of some sequences, described by consecutive segments without gaps.
//
// For training, every token that a segment attends to must be a row of the same batch, or its part of the gradient is
// lost. Segments that share a prompt's pages may follow the prompt in one batch.
type Batch struct {
	// Layout's ids are checked against the vocabulary by the caller (Config.CheckIDs); its slots are distinct.
	kernels.Layout
	// SampledInputs are rows whose ids an earlier pass sampled: they are taken from Sampled, I32 [n, 1], on the device.
	SampledInputs []kernels.SampledInput
	Sampled       kernels.Tensor

	// Adapters gives each segment its adapter, nil for the base; nil for all: base.
	Adapters []*Adapter
}

// check panics if the parts of a batch that m runs disagree, which is a mistake of the caller.
func (b *Batch) check(m *Model, max int) {
	t := len(b.IDs)
	if len(b.Pos) != t || len(b.Slots) != t || t > max || b.Adapters != nil && len(b.Adapters) != len(b.Segs) {
		panic(
			fmt.Sprintf(
				"model: batch of %d ids, %d positions, %d slots, %d segments, %d adapters in a workspace of %d tokens",
				t, len(b.Pos), len(b.Slots), len(b.Segs), len(b.Adapters), max))
	}
	for i, a := range b.Adapters {
		if a != nil && a.m != m {
			panic(fmt.Sprintf("model: segment %d uses an adapter of another model", i))
		}
	}
	row := 0
	for i, s := range b.Segs {
		if s.Row != row || s.Len < 0 {
			panic(fmt.Sprintf("model: segment %d has rows [%d, %d+%d), expected to begin at %d", i, s.Row, s.Row, s.Len,
				row))
		}
		row += s.Len
	}
	if row != t {
		panic(fmt.Sprintf("model: segments cover %d rows of %d", row, t))
	}
}

// run is a range of rows that use one adapter.
type run struct {
	a      *Adapter
	row, n int
}

// runs joins consecutive segments with the same adapter; rows without an adapter are left out.
func (b *Batch) runs(to []run) []run {
	to = to[:0]
	for i, a := range b.Adapters {
		s := b.Segs[i]
		if a == nil || s.Len == 0 {
			continue
		}
		if n := len(to); n > 0 && to[n-1].a == a && to[n-1].row+to[n-1].n == s.Row {
			to[n-1].n += s.Len
			continue
		}
		to = append(to, run{a, s.Row, s.Len})
	}
	return to
}
