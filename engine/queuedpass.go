package engine

import (
	"encoding/binary"
	"math"
	"slices"
	"time"

	"github.com/zerosearch-go/zerosearch/kernels"
)

// queuedPass is a pass of a runner: it is laid out, queued on the device, and collected.
type queuedPass struct {
	r     *runner
	plan  *plan
	b     batch
	shape shape // of its recording, if it has one or gets one
	since time.Time

	ticket kernels.Ticket
	host   []byte // results: two words of 4 bytes a row, the first words of all rows before the second ones
	drawn  []drawn
	ended  []outcome
}

// layOut makes p a queuedPass. It is valid until the runner's next but one.
func (r *runner) layOut(p *plan) *queuedPass {
	f := &r.queued[r.turn]
	r.turn = 1 - r.turn
	f.plan, f.since, f.ticket = p, time.Now(), nil
	f.fill()
	return f
}

// fill writes the layout, with the ids that are known now.
func (f *queuedPass) fill() {
	f.b.fill(f.plan)
	f.b.Sampled = f.r.s.ids
	f.shape = f.r.recs.shape(&f.b)
	if f.shape != (shape{}) {
		f.r.recs.pad(&f.b, f.shape.rows)
	}
}

// alone reports whether the host takes part in the pass, so that no other pass may run at the same time.
func (f *queuedPass) alone() bool { return f.b.likely || f.r.recs.wants(f.shape) }

// run queues the pass.
func (f *queuedPass) run() error {
	r := f.r
	if len(f.plan.dst) > 0 {
		r.dev.KVCopy(r.kv, f.plan.dst, f.plan.src)
	}
	f.drawn = again(f.drawn, len(f.plan.items))
	if err := f.compute(); err != nil {
		return &DeviceError{r.name, r.dev.Name(), err}
	}
	rows := max(len(f.b.Rows), 1) // also wait for a pass without results, to get its error
	f.ticket = kernels.Fetch(r.dev, f.host[:8*rows], r.s.results.RowRange(0, 8*rows))
	return nil
}

// compute queues the operations of the pass, one by one or as they were recorded.
func (f *queuedPass) compute() error {
	r := f.r
	if r.recs.wants(f.shape) {
		if err := r.recs.record(r, f); err != nil {
			return err
		}
	}
	r.m.SetBatch(r.ws, &f.b.Batch, r.kv)
	if rec := r.recs.find(f.shape, r.ws.Moved()); rec != nil {
		rec.Replay()
		r.stats.Replayed++
		return nil
	}
	return r.compute(&f.b, f.drawn)
}

// compute queues the forward pass over the batch, and its sampling and scoring.
func (r *runner) compute(b *batch, drawn []drawn) error {
	r.s.gather(r.m.Compute(r.ws), r.ws.Batch())
	if err := r.s.draw(b, drawn); err != nil {
		return err
	}
	if err := r.s.score(b); err != nil {
		return err
	}
	return r.s.embed(b)
}

// wait waits for the results and gives them to the items that sample and to the jobs that score.
func (f *queuedPass) wait() error {
	t := f.ticket
	if f.ticket = nil; t != nil {
		if err := t.Wait(); err != nil {
			return &DeviceError{f.r.name, f.r.dev.Name(), err}
		}
	}
	for i, d := range f.b.draws {
		f.drawn[d.at].id, f.drawn[d.at].logp = int32(f.word(0, i)), math.Float32frombits(f.word(1, i))
	}
	at := len(f.b.Rows) - len(f.b.scores) - len(f.b.embeds)
	for i, s := range f.b.scores {
		s.job.scores.Logprobs[s.at] = math.Float32frombits(f.word(0, at+i))
		s.job.scores.Entropy[s.at] = math.Float32frombits(f.word(1, at+i))
	}
	return nil
}

// word is the first or the second word of row i.
func (f *queuedPass) word(word, i int) uint32 {
	return binary.LittleEndian.Uint32(f.host[4*(word*len(f.b.Rows)+i):])
}

// outcomes gives the sampled ids to the jobs and returns which sequences continue. Ids sampled for a sequence that had
// ended before are dropped.
func (f *queuedPass) outcomes() []outcome {
	f.ended = again(f.ended, len(f.plan.items))
	for i, it := range f.plan.items {
		switch {
		case it.seq.scores:
		case it.seq.gone:
			f.ended[i].dropped = true
		case it.ends:
			f.ended[i] = it.seq.job.take(f.drawn[i])
		}
	}
	return f.ended
}

// ahead records which results of f the sequences are waiting for. Sequences that continue can already be in the next
// pass.
func (f *queuedPass) ahead() {
	for i, d := range f.b.draws {
		if it := f.plan.items[d.at]; !it.seq.gone {
			it.seq.draws(i, it.seq.job.goesOn(it.start+it.n))
		}
	}
}

// again is s with n zeros, in the same memory where it suffices.
func again[T any](s []T, n int) []T {
	s = slices.Grow(s[:0], n)[:n]
	clear(s)
	return s
}
