package engine

import "github.com/zerosearch-go/zerosearch/kernels"

// alternatives finds the most likely tokens in the place of scored ones, and ranks. The rows of b.scores[:b.ranked]
// begin at output row at. Results of theirs are overwritten by the scores later.
func (s *sampler) alternatives(b *batch, at int) error {
	for from := 0; from < b.ranked; from += s.logits.Rows {
		k := min(s.logits.Rows, b.ranked-from)
		logits, lse := s.logits.RowRange(0, k), s.lse.RowRange(0, k)
		ids := s.result(kernels.I32, 0, len(b.Rows), at+from, k)
		logp := s.result(kernels.F32, 1, len(b.Rows), at+from, k)
		s.dev.MatMul(logits, s.hidden.RowRange(at+from, k), s.m.Head(), kernels.Epilogue{})
		s.dev.Sample(ids, kernels.LogProbs{Logp: logp, LSE: lse}, logits, s.rows, at+from)
		first, firstLogp := make([]int32, k), make([]float32, k)
		if err := kernels.Download(s.dev, first, ids); err != nil {
			return err
		}
		if err := kernels.Download(s.dev, firstLogp, logp); err != nil {
			return err
		}
		for i := range k {
			r := b.scores[from+i]
			if r.job.topEach == 1 && r.job.scores.Ranks == nil { // the device knows it: logits stay there
				r.job.scores.TopEach[r.at] = []TokenLogprob{{first[i], firstLogp[i]}}
				continue
			}
			if err := s.rank(r, logits.RowRange(i, 1), lse.RowRange(i, 1)); err != nil {
				return err
			}
		}
	}
	return nil
}

// rank gives the job of r what it wants to know about a row of logits.
func (s *sampler) rank(r scored, logits, lse kernels.Tensor) error {
	norm, err := s.download(logits, lse)
	if err != nil {
		return err
	}
	if ranks := r.job.scores.Ranks; ranks != nil {
		z, rank := s.hostLogits[r.target], int32(0)
		for _, other := range s.hostLogits {
			if other >= z {
				rank++
			}
		}
		ranks[r.at] = rank
	}
	if r.job.topEach > 0 {
		r.job.scores.TopEach[r.at] = s.sorted(nil, r.job.topEach, r.job.invTemp, norm)
	}
	return nil
}
