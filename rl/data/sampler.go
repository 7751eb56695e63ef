package data

import (
	"fmt"

	"github.com/zerosearch-go/zerosearch/num"
)

// Sampler says which questions a training step uses. It has no state: any step can be asked for at any time, so a resumed run
// sees what the uninterrupted one would have seen. Every question comes once an epoch; a batch may cross from one epoch into the next.
// In a mixture each file has epochs of its own.
type Sampler struct {
	// N is the number of questions, Batch the number a step.
	N, Batch int
	// Seed keys the order of every epoch.
	Seed uint64
	// InOrder keeps the file's order.
	InOrder bool
	// Parts are the files of a mixture; nil: the questions are one set.
	Parts []Part
}

// Step gives the Batch questions (0..N-1) of a step, counted from 0.
func (s Sampler) Step(step int) []int {
	if s.Batch <= 0 || step < 0 {
		panic(fmt.Sprintf("data: step %d of a sampler of %d questions a step", step, s.Batch))
	}
	return s.Draw(step*s.Batch, s.Batch)
}

// Draw gives the n questions (0..N-1) that follow the first first ones: steps of any sizes, one after the other, take what one sequence holds.
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

// mixed is Draw from a mixture: the files take turns in a fixed pattern, spread as evenly as their shares allow, so that a
// batch holds them close to their weights.
func (s Sampler) mixed(start, n int) []int {
	pattern := turns(s.Parts)
	rank := make([]int, len(pattern)) // how often the part had its turn in the pattern before
	count := make([]int, len(s.Parts))
	for i, p := range pattern {
		rank[i] = count[p]
		count[p]++
	}
	first := make([]int, len(s.Parts)) // of each part's questions
	for p := 1; p < len(s.Parts); p++ {
		first[p] = first[p-1] + s.Parts[p-1].N
	}
	orders := map[[2]int][]int{}
	out := make([]int, n)
	for i := range out {
		slot := start + i
		at := slot % len(pattern)
		p := pattern[at]
		drawn := slot/len(pattern)*count[p] + rank[at] // from this part, before this slot
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

// turns is the pattern: whoever is furthest behind its share goes next, the first of equals. It is as long as the sum of the shares and
// holds each part exactly Share times.
func turns(parts []Part) []int {
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

// Epoch gives the order of all questions in an epoch, counted from 0: Fisher and Yates' shuffle, drawn by SplitMix64.
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
