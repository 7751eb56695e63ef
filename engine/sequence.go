package engine

import (
	"slices"

	"github.com/zerosearch-go/zerosearch/engine/kvcache"
)

// sequence is one request as the scheduler sees it: ids whose keys and values must get into the cache, and then
// either a token more (generating), or an end (scoring).
//
//	waiting --admit--> running: prefill in chunks --> decode --> gone
//	   ^------preempt------'
type sequence struct {
	arrival uint64 // order of arrival: what is old goes first
	key     kvcache.Key
	ids     []int32 // all so far: the prompt, then what was sampled
	prompt  int     // ids[:prompt] came with the request
	target  int     // tokens to compute before the sequence samples, or ends when it only scores
	drawing bool    // its next token is on its way from the device
	drawn   int32   // with target > len(ids): which of the ids of the last pass the next token is
	gone    bool    // it has ended: what a pass under way has of it counts for nothing
	scores  bool    // needs the outputs of ids[reuse:target] and samples nothing
	reuse   int     // at most so many tokens may be taken from the cache when it is admitted
	cached  int     // tokens taken from the cache at the first admission
	starts  int     // admissions so far
	reached int     // tokens ever computed, for the statistics
	fresh   bool    // not yet counted in the statistics
	table   *kvcache.Table
	job     *job // the request behind it; nil in tests of the scheduler alone
}

// left is the number of tokens that must be computed before the sequence samples or ends.
func (q *sequence) left() int { return q.target - q.table.Len() }

// draws says that the device has a pass which samples q's next token, as number at of its ids. If q goes on whatever
// that is, the next pass may compute it before the host knows it.
func (q *sequence) draws(at int, goesOn bool) {
	q.drawing, q.drawn = true, int32(at)
	if goesOn {
		q.target++
	}
}

// append adds a sampled token, which is the next to be computed.
func (q *sequence) append(id int32) {
	q.ids = append(q.ids, id)
	q.drawing = false
	q.target = len(q.ids)
	q.reuse = q.target - 1
}

// insert puts q into list, which is in order of arrival.
func insert(list []*sequence, q *sequence) []*sequence {
	i, _ := slices.BinarySearchFunc(list, q, func(a, b *sequence) int { return int(int64(a.arrival - b.arrival)) })
	return slices.Insert(list, i, q)
}

// remove takes q out of list and says whether it was there.
func remove(list []*sequence, q *sequence) ([]*sequence, bool) {
	i := slices.Index(list, q)
	if i < 0 {
		return list, false
	}
	return slices.Delete(list, i, i+1), true
}
