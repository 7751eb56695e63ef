package engine

import (
	"cmp"
	"flag"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/zerosearch-go/zerosearch/engine/kvcache"
	"github.com/zerosearch-go/zerosearch/kernels"
)

func init() { // more cases than rapid's default; -rapid.checks still overrides
	if err := flag.Set("rapid.checks", "500"); err != nil {
		panic(err)
	}
}

// A score that is sent back to wait has its first outputs already: it goes on behind them.
func TestPreemptedScoreKeepsItsOutputs(t *testing.T) {
	l := newLane("m", 4, 50, 8)
	s := scheduler{lanes: []*lane{l}}
	q := &sequence{ids: prompt(91, 1), target: 90, scores: true}
	s.add(l, q)
	s.done(s.plan(), make([]outcome, 1))
	l.preempt(q)
	p := s.plan()
	require.Equal(t, []item{{q, 50, 40, true}}, p.items)
	s.done(p, make([]outcome, 1))
	require.True(t, s.idle())
}

// world runs plans on an imaginary device, whose slots hold a hash of all that a key or value depends on: the weights
// and the ids up to its position. Whatever the scheduler does, every token must find what it would find if its
// sequence were alone.
type world struct {
	rt      *rapid.T
	s       scheduler
	slots   map[*lane][]uint64
	version map[*lane]map[kvcache.Key]uint64
	live    map[*sequence]*lane
	end     map[*sequence]int // length at which a sequence stops
	steps   int
	missed  map[*lane]int // turns that went by while a lane had work

	lags     bool                // plans are done when the next one is under way
	underway *plan               // with outcomes
	outcomes []outcome           // of underway
	next     map[*sequence]int32 // ids that the device has drawn and the scheduler does not know
}

// TestScheduler: random arrivals, lengths, memory sizes, budgets, cancellations and updates. Everybody reads its own
// prefix, no step exceeds its budget, nobody starves, all ends, and no page is lost.
func TestScheduler(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) { randomScheduler(rt, false) })
}

// TestSchedulerLags is TestScheduler for a device whose results are known when its next plan is under way.
func TestSchedulerLags(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) { randomScheduler(rt, true) })
}

func randomScheduler(rt *rapid.T, lags bool) {
	w := &world{rt: rt, lags: lags, next: map[*sequence]int32{},
		slots: map[*lane][]uint64{}, version: map[*lane]map[kvcache.Key]uint64{}, live: map[*sequence]*lane{},
		end: map[*sequence]int{}, missed: map[*lane]int{}}
	for range rapid.IntRange(1, 3).Draw(rt, "models") {
		pages := rapid.IntRange(1, 10).Draw(rt, "pages")
		l := newLane("m", pages, rapid.SampledFrom([]int{1, 3, 16, 64, 200}).Draw(rt, "batch"),
			rapid.IntRange(1, 6).Draw(rt, "seqs"))
		w.s.lanes = append(w.s.lanes, l)
		w.slots[l], w.version[l] = make([]uint64, pages*kernels.PageSize), map[kvcache.Key]uint64{}
	}
	heads := rapid.SliceOfN(rapid.SliceOfN(rapid.Int32Range(0, 1), 0, 120), 1, 3).Draw(rt, "heads")
	rt.Repeat(map[string]func(*rapid.T){
		"add":  func(rt *rapid.T) { w.arrive(rt, heads) },
		"add2": func(rt *rapid.T) { w.arrive(rt, heads) },
		"step": func(rt *rapid.T) { w.step() },
		"cancel": func(rt *rapid.T) {
			w.settle()
			for q, l := range w.oldest() {
				l.cancel(q)
				delete(w.live, q)
			}
		},
		"invalidate": func(rt *rapid.T) {
			w.settle()
			l := rapid.SampledFrom(w.s.lanes).Draw(rt, "lane")
			key, all := kvcache.Key(rapid.IntRange(0, 1).Draw(rt, "key")), rapid.Bool().Draw(rt, "all")
			l.invalidate(key, all)
			for k := range kvcache.Key(2) {
				if all || k == key {
					w.version[l][k]++
				}
			}
		},
	})
	bound := w.steps + 10
	for q := range w.live {
		bound += 4 * (w.end[q] + 1)
	}
	for !w.s.idle() || w.underway != nil {
		if w.step(); w.steps > bound {
			rt.Fatalf("not done after %d steps", bound)
		}
	}
	if len(w.live) > 0 {
		rt.Fatalf("%d sequences were forgotten", len(w.live))
	}
	for _, l := range w.s.lanes {
		if l.cache.Available() != l.cache.Total() {
			rt.Fatalf("%d of %d pages left when all is done", l.cache.Available(), l.cache.Total())
		}
	}
}

// oldest is the sequence that came first.
func (w *world) oldest() map[*sequence]*lane {
	var first *sequence
	for q := range w.live {
		if first == nil || q.arrival < first.arrival {
			first = q
		}
	}
	if first == nil {
		return nil
	}
	return map[*sequence]*lane{first: w.live[first]}
}

func (w *world) arrive(rt *rapid.T, heads [][]int32) {
	l := rapid.SampledFrom(w.s.lanes).Draw(rt, "lane")
	ids := append(append([]int32{}, rapid.SampledFrom(heads).Draw(rt, "head")...),
		rapid.SliceOfN(rapid.Int32Range(0, 3), 1, 20).Draw(rt, "tail")...)
	capacity := l.cache.Total() * kernels.PageSize // tokens of one sequence that is alone
	ids = ids[:min(len(ids), capacity)]
	q := &sequence{ids: ids, prompt: len(ids), target: len(ids), reuse: len(ids) - 1,
		key: kvcache.Key(rapid.IntRange(0, 1).Draw(rt, "key"))}
	w.end[q] = min(len(ids)+rapid.IntRange(1, 70).Draw(rt, "max"), capacity+1)
	if len(ids) > 1 && rapid.IntRange(0, 3).Draw(rt, "score") == 0 {
		q.scores, q.target, w.end[q] = true, len(ids)-1, len(ids)
		q.reuse = rapid.IntRange(0, q.target-1).Draw(rt, "from")
	}
	w.live[q] = l
	w.s.add(l, q)
}

func (w *world) stamps(l *lane, q *sequence, n int) []uint64 {
	h, out := Stream(uint64(q.key), w.version[l][q.key]), make([]uint64, n)
	for i := range n {
		id, drawn := w.next[q]
		if i < len(q.ids) {
			id = q.ids[i]
		} else if i > len(q.ids) || !drawn {
			w.rt.Fatalf("sequence %d has %d tokens, and is to compute one at position %d", q.arrival, len(q.ids), i)
		}
		h = Stream(h, uint64(id))
		out[i] = h
	}
	return out
}

func (w *world) check(l *lane, q *sequence, n int) {
	for p, want := range w.stamps(l, q, n) {
		if at := int(q.table.Pages()[p/kernels.PageSize])*kernels.PageSize +
			p%kernels.PageSize; w.slots[l][at] != want {
			w.rt.Fatalf("sequence %d reads something else at position %d", q.arrival, p)
		}
	}
}

func (w *world) step() {
	p := w.s.plan()
	if p == nil {
		w.settle()
		return
	}
	w.steps++
	w.turns(p.lane)
	const size = kernels.PageSize
	slots := w.slots[p.lane]
	before := append([]uint64{}, slots...)
	for i := range p.dst { // all at once, as a device may
		copy(slots[p.dst[i]*size:(p.dst[i]+1)*size], before[p.src[i]*size:(p.src[i]+1)*size])
	}
	tokens, out, written := 0, make([]outcome, len(p.items)), map[int]bool{}
	for i, it := range p.items {
		q := it.seq
		if tokens += it.n; it.n < 1 || it.start != q.table.Len() {
			w.rt.Fatalf("item %+v of a sequence with %d tokens", it, q.table.Len())
		}
		w.check(p.lane, q, it.start)
		for pos, stamp := range w.stamps(p.lane, q, it.start+it.n)[it.start:] {
			pos += it.start
			at := int(q.table.Pages()[pos/size])*size + pos%size
			if written[at] {
				w.rt.Fatalf("slot %d is written twice in a step", at)
			}
			written[at], slots[at] = true, stamp
		}
		last := it.start + it.n
		out[i].id = int32(slots[int(q.table.Pages()[(last-1)/size])*size+(last-1)%size] % 4)
		out[i].finish = last+1 >= w.end[q] || w.lags && !q.scores && it.ends && out[i].id == 3
	}
	inOrder := func(a, b *sequence) int { return cmp.Compare(a.arrival, b.arrival) }
	if !slices.IsSortedFunc(p.lane.waiting, inOrder) || !slices.IsSortedFunc(p.lane.running, inOrder) {
		w.rt.Fatalf("the queue is out of order")
	}
	if tokens != p.tokens || tokens > p.lane.maxTokens || len(p.lane.running) > min(p.lane.maxSeq, p.lane.maxTokens) {
		w.rt.Fatalf("%d tokens, said to be %d, of %d sequences in a step of %d, %d", tokens, p.tokens,
			len(p.lane.running), p.lane.maxTokens, p.lane.maxSeq)
	}
	w.settle()
	if w.underway, w.outcomes = p, out; !w.lags {
		w.settle()
		return
	}
	w.s.sent(p)
	for i, it := range p.items {
		if it.ends && !it.seq.scores && !it.seq.gone {
			w.next[it.seq] = out[i].id
			it.seq.draws(i, it.start+it.n+1 < w.end[it.seq]) // ids that end a sequence by themselves are not foreseen
		}
	}
}

// settle does the plan under way.
func (w *world) settle() {
	p, out := w.underway, w.outcomes
	if w.underway = nil; p == nil {
		return
	}
	for i, it := range p.items {
		if it.ends && !(it.seq.gone && !it.seq.scores) && (it.seq.scores || out[i].finish) {
			delete(w.live, it.seq)
		}
		delete(w.next, it.seq)
	}
	w.s.done(p, out)
	for _, q := range p.lane.running {
		w.check(p.lane, q, q.table.Len())
	}
}

// turns fails if a model waits for more than one turn of each other model.
func (w *world) turns(now *lane) {
	for _, l := range w.s.lanes {
		if l == now || len(l.waiting)+len(l.running) == 0 {
			w.missed[l] = 0
		} else if w.missed[l]++; w.missed[l] >= len(w.s.lanes) {
			w.rt.Fatalf("a model waits for %d turns", w.missed[l])
		}
	}
}
