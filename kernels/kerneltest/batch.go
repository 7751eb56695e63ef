package kerneltest

import (
	"github.com/zerosearch-go/zerosearch/kernels"
)

// batch is one of just the size of l. Lists that l leaves out are zeros.
func (s *side) batch(l kernels.Layout, kv kernels.KV) kernels.Batch {
	s.t.Helper()
	b, err := kernels.BatchOf(s.d, l, kv)
	if err != nil {
		s.t.Fatalf("NewBatch(%+v): %v", l.Spec(), err)
	}
	s.frees = append(s.frees, b.Free)
	return b
}

// ids, at, slots, segments and draws are batches for operations that look at one thing only.
func (s *side) ids(ids []int32) kernels.Batch { return s.batch(kernels.Layout{IDs: ids}, nil) }
func (s *side) at(pos []int32) kernels.Batch  { return s.batch(kernels.Layout{Pos: pos}, nil) }

func (s *side) slots(kv kernels.KV, slots []int32) kernels.Batch {
	return s.batch(kernels.Layout{Slots: slots}, kv)
}

func (s *side) segments(kv kernels.KV, segs []kernels.Segment) kernels.Batch {
	return s.batch(kernels.Layout{Segs: segs}, kv)
}

func (s *side) draws(rules []kernels.Sampling) kernels.Batch {
	return s.batch(kernels.Layout{Draws: rules}, nil)
}

// streamOf is a stream whose first random number is u, a multiple of 2^-53: the generator of num is a bijection, which this undoes.
func streamOf(u float64) uint64 {
	const gamma, m1, m2 = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
	z := uint64(u*(1<<53)) << 11
	z ^= z>>31 ^ z>>62
	z *= inverse(m2)
	z ^= z>>27 ^ z>>54
	z *= inverse(m1)
	z ^= z>>30 ^ z>>60
	return z - gamma
}

// inverse of an odd number modulo 2^64, by Newton's iteration.
func inverse(x uint64) uint64 {
	y := x
	for range 6 {
		y *= 2 - x*y
	}
	return y
}
