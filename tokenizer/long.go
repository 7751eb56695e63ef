package tokenizer

// longMerge merges long pieces in O(n log n): a text without spaces, or the complete text for a character-level model,
// is one piece. Symbols form a linked list, and a heap holds the possible merges. Merges that became impossible are
// skipped when they are popped.
type longMerge struct {
	next       []uint64 // as in state: merge of the symbol at i with the one to its right
	prev, succ []int32
	heap       []heapMerge
}

type heapMerge struct {
	merge uint64 // rank<<32|id
	at    int32
}

func (a heapMerge) before(b heapMerge) bool {
	return a.merge < b.merge || a.merge == b.merge && a.at < b.at
}

// merge appends the merged ids to out. It overwrites ids.
func (l *longMerge) merge(pairs *pairTable, out, ids []int32) []int32 {
	n := len(ids)
	l.next, l.prev, l.succ, l.heap = resize(l.next, n), resize(l.prev, n), resize(l.succ, n), l.heap[:0]
	for i := range ids {
		l.prev[i], l.succ[i], l.next[i] = int32(i-1), int32(i+1), noMerge
		if i+1 < n {
			l.next[i] = pairs.find(ids[i], ids[i+1])
		}
		if l.next[i] != noMerge {
			l.heap = append(l.heap, heapMerge{l.next[i], int32(i)})
		}
	}
	for i := len(l.heap)/2 - 1; i >= 0; i-- {
		l.down(i)
	}
	for len(l.heap) > 0 {
		top := l.pop()
		at := top.at
		if l.next[at] != top.merge {
			continue // one of its symbols was merged already
		}
		right := l.succ[at]
		ids[at] = int32(uint32(top.merge))
		l.next[right] = noMerge
		l.succ[at] = l.succ[right]
		if after := l.succ[at]; int(after) < n {
			l.prev[after] = at
			l.update(at, pairs.find(ids[at], ids[after]))
		} else {
			l.next[at] = noMerge
		}
		if before := l.prev[at]; before >= 0 {
			l.update(before, pairs.find(ids[before], ids[at]))
		}
	}
	for i := 0; i < n; i = int(l.succ[i]) {
		out = append(out, ids[i])
	}
	return out
}

// update records the merge of the symbol at with the one to its right.
func (l *longMerge) update(at int32, merge uint64) {
	l.next[at] = merge
	if merge == noMerge {
		return
	}
	l.heap = append(l.heap, heapMerge{merge, at})
	for i := len(l.heap) - 1; i > 0; {
		parent := (i - 1) / 2
		if !l.heap[i].before(l.heap[parent]) {
			break
		}
		l.heap[i], l.heap[parent] = l.heap[parent], l.heap[i]
		i = parent
	}
}

func (l *longMerge) pop() heapMerge {
	top := l.heap[0]
	last := len(l.heap) - 1
	l.heap[0] = l.heap[last]
	l.heap = l.heap[:last]
	l.down(0)
	return top
}

func (l *longMerge) down(i int) {
	for {
		child := 2*i + 1
		if child >= len(l.heap) {
			return
		}
		if child+1 < len(l.heap) && l.heap[child+1].before(l.heap[child]) {
			child++
		}
		if !l.heap[child].before(l.heap[i]) {
			return
		}
		l.heap[i], l.heap[child] = l.heap[child], l.heap[i]
		i = child
	}
}

func resize[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}
