package engine

import (
	"cmp"
	"slices"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/model"
)

// batch is a plan as a device sees it: the rows of a pass, and which of them are sampled or scored.
//
// The output rows come in this order: those of draws, of padding, of tops, of scores, of embeds.
type batch struct {
	model.Batch
	draws  []draw
	tops   []top
	scores []scored // first those whose alternatives are wanted; both parts by temperature
	ranked int      // the length of the first part
	embeds []hiddenRow
	likely bool // logits or hidden states are needed on the host
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
	part        int // 0 if its alternatives are wanted, else 1
}

// top is a row whose most likely next tokens are returned.
type top struct {
	row int32
	job *job
}

// hiddenRow is a row whose hidden state is returned.
type hiddenRow struct {
	row int32
	job *job
}

// fill sets b to the plan p, reusing b's memory.
func (b *batch) fill(p *plan) {
	b.IDs, b.Pos, b.Slots, b.Segs, b.Adapters = b.IDs[:0], b.Pos[:0], b.Slots[:0], b.Segs[:0], b.Adapters[:0]
	b.Rows, b.Draws = b.Rows[:0], b.Draws[:0]
	b.draws, b.scores, b.tops, b.embeds = b.draws[:0], b.scores[:0], b.tops[:0], b.embeds[:0]
	b.SampledInputs, b.likely, b.ranked = b.SampledInputs[:0], false, 0
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
	slices.SortStableFunc(b.scores, func(x, y scored) int {
		return cmp.Or(cmp.Compare(x.part, y.part), cmp.Compare(x.job.invTemp, y.job.invTemp))
	})
	for _, d := range b.draws {
		b.Rows = append(b.Rows, d.row)
	}
	b.likely = b.likely || len(b.tops)+len(b.embeds) > 0
	for _, t := range b.tops {
		b.Rows = append(b.Rows, t.row)
		b.Draws = append(b.Draws, kernels.Sampling{Greedy: true, InvTemp: t.job.invTemp})
	}
	for _, s := range b.scores {
		b.Rows = append(b.Rows, s.row)
		if s.part == 0 {
			b.ranked, b.likely = b.ranked+1, true
			b.Draws = append(b.Draws, kernels.Sampling{Greedy: true, InvTemp: s.job.invTemp, Never: s.job.r.m.NoToken})
		}
	}
	for _, e := range b.embeds {
		b.Rows = append(b.Rows, e.row)
	}
}

// ranks reports whether the alternatives of each scored token are wanted.
func (j *job) ranks() bool { return j.topEach > 0 || j.scores.Ranks != nil }

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
	q, part := it.seq, 1
	if q.job.ranks() {
		part = 0
	}
	for pos := max(it.start, q.job.from-1); pos < it.start+it.n && pos+1 < len(q.ids); pos++ {
		b.scores = append(b.scores, scored{int32(row + pos - it.start), q.ids[pos+1], q.job, pos + 1 - q.job.from,
			part})
	}
	if it.ends && q.job.topK > 0 {
		b.tops = append(b.tops, top{int32(row + it.n - 1), q.job})
	}
	if it.ends && q.job.embeds {
		b.embeds = append(b.embeds, hiddenRow{int32(row + it.n - 1), q.job})
	}
}
