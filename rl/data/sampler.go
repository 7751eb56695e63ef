package data

import (
	"fmt"

	"github.com/zerosearch-go/zerosearch/num"
)

// Sampler says which questions a training step uses. It has no state: the questions of any step can be computed at any
// time, so a resumed run gets the same questions as an uninterrupted one. Every question is drawn once in each epoch,
// and a batch may contain the end of one epoch and the beginning of the next. In a mixture the epochs of each file are
// counted separately.
type Sampler struct {
	// N is the number of questions, Batch the number of questions in a step.
	N, Batch int
	// Seed is the random seed of the order of every epoch.
	Seed uint64
	// InOrder keeps the order of the questions instead of shuffling them.
	InOrder bool
	// Parts are the files of a mixture, nil if the questions are not a mixture.
	Parts []Part
}

// Step gives the questions of a step as indices, [Batch], each in 0..N-1. Steps count from 0.
func (s Sampler) Step(step int) []int {
	if s.Batch <= 0 || step < 0 {
		panic(fmt.Sprintf("data: step %d of a sampler of %d questions a step", step, s.Batch))
	}
	return s.Draw(step*s.Batch, s.Batch)
}

// Draw gives n questions of the sequence that the sampler defines, from position first on, as indices, [n], each in
// 0..N-1. So steps of different sizes can draw from one sequence, one after the other.
func (s Sampler) Draw(first, n int) []int {
	if s.N <= 0 || first < 0 || n < 0 {
		panic(fmt.Sprintf("data: %d questions of %d from %d on", n, s.N, first))
	}
	if s.Parts != nil {
		return s.mixed(first, n)
	}
	out := make([]int, 0, n)
	for epoch := first / s.N; len(out) < n; epoch++ {
		order := s.Epoch(epoch)
		if from := first - epoch*s.N; from > 0 {
			order = order[from:]
		}
		out = append(out, order[:min(len(order), n-len(out))]...)
	}
	return out
}

// mixed is Draw for a mixture. The files alternate in a fixed pattern, as evenly as their shares allow, so that the
// numbers of questions of each file in a batch are close to the weights.
func (s Sampler) mixed(start, n int) []int {
	pattern := mixturePattern(s.Parts)
	rank := make([]int, len(pattern))  // [pattern]: how often the same part occurs earlier in the pattern
	count := make([]int, len(s.Parts)) // [parts]: how often each part occurs in the pattern
	for i, p := range pattern {
		rank[i] = count[p]
		count[p]++
	}
	first := make([]int, len(s.Parts)) // [parts]: index of each part's first question
	for p := 1; p < len(s.Parts); p++ {
		first[p] = first[p-1] + s.Parts[p-1].N
	}
	orders := map[[2]int][]int{} // by part and epoch
	out := make([]int, n)
	for i := range out {
		slot := start + i
		at := slot % len(pattern)
		p := pattern[at]
		drawn := slot/len(pattern)*count[p] + rank[at] // number of questions drawn from this part before this slot
		epoch := drawn / s.Parts[p].N
		order := orders[[2]int{p, epoch}]
		if order == nil {
			part := Sampler{N: s.Parts[p].N, Seed: num.Mix(s.Seed + uint64(p) + 1), InOrder: s.InOrder}
			order = part.Epoch(epoch)
			orders[[2]int{p, epoch}] = order
		}
		out[i] = first[p] + order[drawn%s.Parts[p].N]
	}
	return out
}

// mixturePattern gives the index of a part for each position. The next part is always the one that is furthest below
// its share; of equal ones it is the first. The pattern is as long as the sum of the shares and contains each part
// exactly Share times.
func mixturePattern(parts []Part) []int {
	total := 0
	for _, p := range parts {
		total += p.Share
	}
	behind := make([]int, len(parts))
	out := make([]int, total)
	for i := range out {
		best := 0
		for p := range parts {
			if behind[p] += parts[p].Share; behind[p] > behind[best] {
				best = p
			}
		}
		behind[best] -= total
		out[i] = best
	}
	return out
}

// Epoch gives the order of all questions in an epoch as indices, [N]. Epochs count from 0. It is a Fisher-Yates shuffle
// by SplitMix64.
func (s Sampler) Epoch(epoch int) []int {
	order := make([]int, s.N)
	for i := range order {
		order[i] = i
	}
	if s.InOrder {
		return order
	}
	state := num.SplitMix(num.Mix(s.Seed) ^ num.Mix(uint64(epoch)+0x6a09e667f3bcc909))
	for i := s.N - 1; i > 0; i-- {
		j := int(state.Next() % uint64(i+1)) // the bias of the remainder is below N/2^64
		order[i], order[j] = order[j], order[i]
	}
	return order
}
