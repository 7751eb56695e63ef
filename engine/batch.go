package engine

import (
	"cmp"
	"slices"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/model"
)

// batch is a plan as a device sees it: the rows of a pass, and which of them are sampled or scored.
//
// The output rows come in this order: those of draws, of padding, of tops, of scores.
type batch struct {
	model.Batch
	draws  []draw
	tops   []top
	scores []scored // by temperature
	likely bool     // logits are needed on the host
}

// draw is a row whose next token is sampled, for item at of the plan. top most likely tokens are returned with it.
type draw struct {
	row int32
	at  int
	top int
}

// scored is a row that predicts target. The result is element at of the job's results.
type scored struct {
	row, target int32
	job         *job
	at          int
}

// top is a row whose most likely next tokens are returned.
type top struct {
	row int32
	job *job
}

// fill sets b to the plan p, reusing b's memory.
func (b *batch) fill(p *plan) {
	b.IDs, b.Pos, b.Slots, b.Segs, b.Adapters = b.IDs[:0], b.Pos[:0], b.Slots[:0], b.Segs[:0], b.Adapters[:0]
	b.Rows, b.Draws = b.Rows[:0], b.Draws[:0]
	b.draws, b.scores, b.tops = b.draws[:0], b.scores[:0], b.tops[:0]
	b.SampledInputs, b.likely = b.SampledInputs[:0], false
	for at, it := range p.items {
		q, pages, row := it.seq, it.seq.table.Pages(), len(b.IDs)
		for pos := it.start; pos < it.start+it.n; pos++ {
			b.Pos = append(b.Pos, int32(pos))
			b.Slots = append(b.Slots, pages[pos/kernels.PageSize]*kernels.PageSize+int32(pos%kernels.PageSize))
		}
		if it.start < len(q.ids) {
			b.IDs = append(b.IDs, q.ids[it.start:it.start+it.n]...)
		} else { // it was sampled by the pass before
			b.IDs = append(b.IDs, 0)
			b.SampledInputs = append(b.SampledInputs, kernels.SampledInput{Row: int32(row), From: q.drawn})
		}
		b.Segs = append(b.Segs, kernels.Segment{Row: row, Len: it.n, Start: it.start,
			Pages: pages[:kernels.PagesFor(it.start+it.n)]})
		b.Adapters = append(b.Adapters, q.job.adapter)
		switch {
		case q.scores:
			b.wantScores(it, row)
		case it.ends:
			b.draws = append(b.draws, draw{int32(row + it.n - 1), at, q.job.req.Top})
			b.Draws = append(b.Draws, q.job.rule(it.start+it.n))
			b.likely = b.likely || q.job.req.Top > 0
		}
	}
	slices.SortStableFunc(b.scores, func(x, y scored) int { return cmp.Compare(x.job.invTemp, y.job.invTemp) })
	for _, d := range b.draws {
		b.Rows = append(b.Rows, d.row)
	}
	b.likely = b.likely || len(b.tops) > 0
	for _, t := range b.tops {
		b.Rows = append(b.Rows, t.row)
		b.Draws = append(b.Draws, kernels.Sampling{Greedy: true, InvTemp: t.job.invTemp})
	}
	for _, s := range b.scores {
		b.Rows = append(b.Rows, s.row)
	}
}

// decodes reports whether b samples the next token of every sequence from its last one, all with one adapter. Such
// passes have the same shape and can be recorded.
func (b *batch) decodes() bool {
	if b.likely || len(b.draws) != len(b.IDs) {
		return false
	}
	for _, a := range b.Adapters[1:] {
		if a != b.Adapters[0] {
			return false
		}
	}
	return true
}

// wantScores adds the rows of a scoring item that predict a scored token.
func (b *batch) wantScores(it item, row int) {
	q := it.seq
	for pos := max(it.start, q.job.from-1); pos < it.start+it.n && pos+1 < len(q.ids); pos++ {
		b.scores = append(b.scores, scored{int32(row + pos - it.start), q.ids[pos+1], q.job, pos + 1 - q.job.from})
	}
	if it.ends && q.job.topK > 0 {
		b.tops = append(b.tops, top{int32(row + it.n - 1), q.job})
	}
}
