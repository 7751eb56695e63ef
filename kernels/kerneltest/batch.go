package kerneltest

import (
	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/num"
)

// batch is one of just the size of l. Lists that l leaves out are zeros.
func (s *caseRun) batch(l kernels.Layout, kv kernels.KV) kernels.Batch {
	s.t.Helper()
	b, err := kernels.BatchOf(s.d, l, kv)
	if err != nil {
		s.t.Fatalf("NewBatch(%+v): %v", l.Spec(), err)
	}
	s.frees = append(s.frees, b.Free)
	return b
}

// ids, at, slots, segments and draws are batches for operations that look at one thing only.
func (s *caseRun) ids(ids []int32) kernels.Batch { return s.batch(kernels.Layout{IDs: ids}, nil) }
func (s *caseRun) at(pos []int32) kernels.Batch  { return s.batch(kernels.Layout{Pos: pos}, nil) }

func (s *caseRun) slots(kv kernels.KV, slots []int32) kernels.Batch {
	return s.batch(kernels.Layout{Slots: slots}, kv)
}

func (s *caseRun) segments(kv kernels.KV, segs []kernels.Segment) kernels.Batch {
	return s.batch(kernels.Layout{Segs: segs}, kv)
}

func (s *caseRun) draws(rules []kernels.Sampling) kernels.Batch {
	return s.batch(kernels.Layout{Draws: rules}, nil)
}

// streamOf is a stream whose first random number is u, a multiple of 2^-53.
func streamOf(u float64) uint64 { return num.Unmix(uint64(u*(1<<53))<<11) - num.Gamma }
