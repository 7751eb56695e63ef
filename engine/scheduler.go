package engine

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/zerosearch-go/zerosearch/engine/kvcache"
	"github.com/zerosearch-go/zerosearch/kernels"
)

// scheduler decides who runs when. It is a pure state machine: events go in (add, cancel, invalidate, sent, done),
// plans come out, and it knows no clock, goroutine or device.
//
// In step with the device, plan and done of one plan follow each other. On a device that works while the host prepares
// the next pass there is one plan more under way, whose sampled ids the host does not know yet:
//
//	plan n+1 (the device queues it) -- done n -- sent n+1 -- plan n+2 -- done n+1 -- ...
//
// Nothing but add happens while a plan is under way. Sequences that go on whatever was sampled (see sequence.drawing)
// are in plan n+1 with an id that only the device knows. If done n then ends one of them, its item in plan n+1 counts
// for nothing: its table is closed before the item is committed, so that no page ever says that it holds a token that
// was not computed. What the pass writes for it lands behind everything that others read, as work of a device is in
// order.
//
// The rules, a step being one pass of one model:
//   - Models with work take turns.
//   - Every running sequence that needs one token more gets it; the rest of the token budget goes to prefills, oldest
//     first, in chunks.
//   - Pages are given oldest first. Who finds none sends the youngest running sequence back to wait; its pages stay
//     in the cache until they are really needed, and what was lost is computed again, to the same bits. The oldest
//     always gets its pages: no deadlock.
//   - Waiting sequences enter in order of arrival when there are pages for all they know and one page more for
//     everybody running.
//   - A sequence whose next page or more is being prefilled by another waits for it instead of computing the same: a
//     group's prompt, or a common instruction, is computed once.
type scheduler struct {
	lanes    []*lane
	next     int // whose turn it is
	arrivals uint64
}

// lane is the scheduling of one model: one cache, one queue.
type lane struct {
	name              string
	cache             *kvcache.Cache
	maxTokens, maxSeq int         // of one step
	waiting, running  []*sequence // in order of arrival
	steps             [2]plan     // reused in turns
	turn              int         // of steps
	underway          int         // plans that are not done

	preemptions int
}

// plan is one step of one model. It is valid until its lane's next but one.
type plan struct {
	lane      *lane
	items     []item
	dst, src  []int32     // pages to copy before anything is written
	tokens    int         // rows of the pass
	preempted []*sequence // sent back to wait, youngest first
	sent      bool        // its tokens are committed
}

// item is the part of a sequence in a plan: tokens [start, start+n).
type item struct {
	seq      *sequence
	start, n int
	ends     bool // reaches the target: samples a token, or ends a score
}

// outcome is what happened to an item that ends: the sampled token, and whether that was the last; or nothing, as its
// sequence had ended already.
type outcome struct {
	id      int32
	finish  bool
	dropped bool
}

func newLane(name string, pages, maxTokens, maxSeq int) *lane {
	return &lane{name: name, cache: kvcache.New(pages), maxTokens: maxTokens, maxSeq: min(maxSeq, maxTokens)}
}

// remove takes out a lane that has nothing to do.
func (s *scheduler) remove(l *lane) {
	s.lanes, s.next = slices.DeleteFunc(s.lanes, func(x *lane) bool { return x == l }), 0
}

// add lets q wait at l. A sequence that could never fit into l's pages is refused by the caller.
func (s *scheduler) add(l *lane, q *sequence) {
	s.arrivals++
	q.arrival = s.arrivals
	l.waiting = append(l.waiting, q)
}

// cancel takes q out, wherever it is.
func (l *lane) cancel(q *sequence) {
	var was bool
	if l.waiting, was = remove(l.waiting, q); was {
		return
	}
	if l.running, was = remove(l.running, q); was {
		q.table.Close()
	}
}

// invalidate forgets what was computed under key, or under all keys: the weights have changed. Sequences under way
// begin again.
func (l *lane) invalidate(key kvcache.Key, all bool) {
	for i := len(l.running) - 1; i >= 0; i-- {
		if q := l.running[i]; all || q.key == key {
			l.preempt(q)
		}
	}
	if all {
		l.cache.InvalidateAll()
	} else {
		l.cache.Invalidate(key)
	}
}

// idle reports whether nothing is waiting or running anywhere.
func (s *scheduler) idle() bool {
	for _, l := range s.lanes {
		if len(l.waiting)+len(l.running) > 0 {
			return false
		}
	}
	return true
}

// plan is the next step; nil if there is nothing to do before a plan under way is done.
func (s *scheduler) plan() *plan {
	for i := range s.lanes {
		l := s.lanes[(s.next+i)%len(s.lanes)]
		if len(l.waiting)+len(l.running) == 0 {
			continue
		}
		if p := l.plan(); p.tokens > 0 {
			s.next = (s.next + i + 1) % len(s.lanes)
			l.underway, l.turn = l.underway+1, 1-l.turn
			return p
		}
	}
	return nil
}

func (l *lane) plan() *plan {
	p := &l.steps[l.turn]
	*p = plan{lane: l, items: p.items[:0], dst: p.dst[:0], src: p.src[:0], preempted: p.preempted[:0]}
	spare := l.maxTokens // for prefills
	for _, q := range l.running {
		if q.left() == 1 {
			spare--
		}
	}
	for i := 0; i < len(l.running); i++ { // who is preempted is taken from the end
		q := l.running[i]
		n := min(q.left(), max(spare, 1))
		if n == 0 { // its next token is on its way
			continue
		}
		if q.left() > 1 {
			if n = min(n, spare); n == 0 {
				continue
			}
			spare -= n
		}
		if !l.room(p, q, n) {
			break
		}
		p.give(q, n)
	}
	l.enter(p, spare)
	// an adapter's rows are neighbours
	slices.SortStableFunc(p.items, func(a, b item) int { return cmp.Compare(a.seq.key, b.seq.key) })
	if p.tokens == 0 && l.underway == 0 {
		panic(fmt.Sprintf("engine: nothing to run for %s with %d running, %d waiting, %d of %d pages available",
			l.name, len(l.running), len(l.waiting), l.cache.Available(), l.cache.Total()))
	}
	return p
}

// give makes n tokens of q part of the step.
func (p *plan) give(q *sequence, n int) {
	p.items = append(p.items, item{seq: q, start: q.table.Len(), n: n, ends: n == q.left()})
	p.tokens += n
}

// room gets pages for n more tokens of q, preempting younger sequences, last of all q itself: then it is false.
func (l *lane) room(p *plan, q *sequence, n int) bool {
	for !q.table.Grow(n) {
		victim := l.running[len(l.running)-1]
		if victim == q && len(l.running) == 1 {
			panic(fmt.Sprintf("engine: %d pages of %s do not hold a sequence of %d tokens that is alone",
				l.cache.Total(), l.name, q.target))
		}
		l.preempt(victim)
		l.preemptions++
		if p.preempted = append(p.preempted, victim); victim == q {
			return false
		}
	}
	return true
}

// preempt frees q's pages and moves it back to the waiting sequences.
func (l *lane) preempt(q *sequence) {
	q.table.Close()
	q.table = nil
	l.running, _ = remove(l.running, q)
	l.waiting = insert(l.waiting, q)
}

// enter admits waiting sequences into a step that has room for spare more tokens.
func (l *lane) enter(p *plan, spare int) {
	for i := 0; i < len(l.waiting) && spare > 0 && len(l.running) < l.maxSeq; {
		q := l.waiting[i]
		if q.drawing || l.awaits(q) {
			i++
			continue
		}
		alone := len(l.running) == 0
		if !alone && !l.fits(q) {
			return
		}
		n, ok := l.admit(p, q, spare)
		if !ok {
			if alone {
				panic(fmt.Sprintf("engine: %d pages of %s do not hold the first of %d tokens", l.cache.Total(), l.name,
					q.target))
			}
			return
		}
		l.waiting, _ = remove(l.waiting, q)
		l.running = insert(l.running, q)
		p.give(q, n)
		spare -= n
	}
}

// awaits reports whether a running sequence is about to compute what q would compute first, a page of it at least.
func (l *lane) awaits(q *sequence) bool {
	have := -1
	for _, r := range l.running {
		if r.key != q.key || r.left() <= 1 {
			continue
		}
		shared := kvcache.Common(r.ids[:r.target], q.ids[:q.reuse])
		if shared < kernels.PageSize {
			continue
		}
		if have < 0 {
			have, _ = l.cache.Peek(q.key, q.ids, q.reuse)
		}
		if shared-have >= kernels.PageSize {
			return true
		}
	}
	return false
}

// fits reports whether there are pages for all that q knows, after what the running ones know, and a page more for
// each of them.
func (l *lane) fits(q *sequence) bool {
	have, idle := l.cache.Peek(q.key, q.ids, q.reuse)
	need := kernels.PagesFor(q.target) - have/kernels.PageSize + idle
	for _, r := range l.running {
		need += kernels.PagesFor(r.target) + 1 - len(r.table.Pages())
	}
	return need <= l.cache.Available()
}

// admit opens q's page table on what the cache has of it and makes room for its first tokens.
func (l *lane) admit(p *plan, q *sequence, spare int) (n int, ok bool) {
	for _, copying := range []bool{true, false} { // a copy needs two pages for a moment
		table, cp, copied := l.cache.Open(q.key, q.ids, q.reuse, copying)
		n = min(q.target-table.Len(), spare)
		if !table.Grow(n) {
			table.Close()
			continue
		}
		if copied {
			p.dst, p.src = append(p.dst, cp.Dst), append(p.src, cp.Src)
		}
		if q.table = table; q.starts == 0 {
			q.cached = table.Len()
		}
		q.starts++
		return n, true
	}
	return 0, false
}

// sent takes in that the device has p, while what p samples is not known yet.
func (s *scheduler) sent(p *plan) {
	for _, it := range p.items {
		q := it.seq
		p.lane.commit(it)
		if q.scores && it.ends && !q.gone {
			p.lane.leave(q)
		}
	}
	p.sent = true
}

// done takes in that p has been run; out has an outcome for every item, of which only those that sample count.
func (s *scheduler) done(p *plan, out []outcome) {
	p.lane.underway--
	for i, it := range p.items {
		q := it.seq
		if q.gone {
			continue
		}
		if !p.sent {
			p.lane.commit(it)
		}
		if !it.ends {
			continue
		}
		if !q.scores {
			q.append(out[i].id)
		}
		if q.scores || out[i].finish {
			p.lane.leave(q)
		}
	}
}

// prune takes out of p, before the device has it, what counts for nothing.
func (p *plan) prune() {
	p.items = slices.DeleteFunc(p.items, func(it item) bool { return it.seq.gone })
	p.tokens = 0
	for _, it := range p.items {
		p.tokens += it.n
	}
}

// commit records that the tokens of it are in the pages, or will be before anybody reads them.
func (l *lane) commit(it item) {
	q := it.seq
	if q.gone {
		return
	}
	q.table.Commit(q.ids[it.start : it.start+it.n])
	if q.scores {
		q.reuse = max(q.reuse, q.table.Len()) // these outputs are known
	}
}

// leave is the end of q.
func (l *lane) leave(q *sequence) {
	q.gone = true
	l.cancel(q)
}
