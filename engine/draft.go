package engine

// Drafting. A model that copies, as a simulator copies questions and answers, is guessed at by looking its last tokens up in its own
// text (prompt lookup; Saxena 2023): what followed them there may follow here. The guess is computed in the same pass as the token before
// it, at the rows of a step that would cost little; each row then samples as if it were the last. Where the sampled token is the guess the
// next row counts too, and where it is not the rest is forgotten. Since a row does not depend on the rows behind it, nor a draw on anything
// but its position, no bit of the output changes: only the number of passes does.

const (
	minMatch = 2  // tokens that must have occurred before
	maxMatch = 8  // longer matches are not told apart
	maxPause = 16 // steps without a guess after many wrong ones
)

// lookup guesses at most k tokens after ids: what followed the longest earlier occurrence of their end, the latest of these.
func lookup(ids []int32, k int) []int32 {
	n := len(ids)
	best, at := minMatch-1, 0
	for end := n - 1; end > best && best < maxMatch; end-- { // ids[:end] ends as ids does
		m := 0
		for m < min(end, maxMatch) && ids[end-1-m] == ids[n-1-m] {
			m++
		}
		if m > best {
			best, at = m, end
		}
	}
	if at == 0 {
		return nil
	}
	return ids[at:min(at+k, n)]
}

// luck spaces guesses that were wrong ever further.
type luck struct{ pause, left int }

// tries says whether to guess in this step.
func (l *luck) tries() bool {
	if l.left > 0 {
		l.left--
		return false
	}
	return true
}

// learn takes in how many tokens of a guess were right.
func (l *luck) learn(right int) {
	if right > 0 {
		l.pause = 0
		return
	}
	l.pause = min(max(2*l.pause, 1), maxPause)
	l.left = l.pause
}

// draft adds guesses to the sequences of a step that sample, as far as its rows are within l.drafts.
func (l *lane) draft(p *plan) {
	sampling := 0
	for _, it := range p.items {
		if it.ends && !it.seq.scores {
			sampling++
		}
	}
	if sampling == 0 || p.tokens >= l.drafts {
		return
	}
	share := (l.drafts - p.tokens) / sampling
	for i := range p.items {
		it := &p.items[i]
		q := it.seq
		if !it.ends || q.scores {
			continue
		}
		k := min(share, q.most-len(q.ids)-1)
		if k < 1 || !q.luck.tries() {
			continue
		}
		if guess := lookup(q.ids, k); len(guess) > 0 && q.table.Grow(it.n+len(guess)) {
			it.guess, it.n = guess, it.n+len(guess)
			p.tokens += len(guess)
		}
	}
}
