package data

import "fmt"

// Sampler says which questions a training step uses. It has no state: any step can be asked for at any time, so a resumed run
// sees what the uninterrupted one would have seen. Every question comes once an epoch; a batch may cross from one epoch into the next.
type Sampler struct {
	// N is the number of questions, Batch the number a step.
	N, Batch int
	// Seed keys the order of every epoch.
	Seed uint64
	// InOrder keeps the file's order.
	InOrder bool
}

// Step gives the Batch questions (0..N-1) of a step, counted from 0.
func (s Sampler) Step(step int) []int {
	if s.N <= 0 || s.Batch <= 0 || step < 0 {
		panic(fmt.Sprintf("data: step %d of a sampler of %d questions, %d a step", step, s.N, s.Batch))
	}
	out := make([]int, 0, s.Batch)
	first := step * s.Batch
	for epoch := first / s.N; len(out) < s.Batch; epoch++ {
		order := s.Epoch(epoch)
		if from := first - epoch*s.N; from > 0 {
			order = order[from:]
		}
		out = append(out, order[:min(len(order), s.Batch-len(out))]...)
	}
	return out
}

// Epoch gives the order of all questions in an epoch, counted from 0: Fisher and Yates' shuffle, drawn by splitmix64.
func (s Sampler) Epoch(epoch int) []int {
	order := make([]int, s.N)
	for i := range order {
		order[i] = i
	}
	if s.InOrder {
		return order
	}
	state := mix(s.Seed) ^ mix(uint64(epoch)+0x6a09e667f3bcc909)
	for i := s.N - 1; i > 0; i-- {
		state += 0x9e3779b97f4a7c15
		j := int(mix(state) % uint64(i+1)) // the bias of the remainder is below N/2^64
		order[i], order[j] = order[j], order[i]
	}
	return order
}

// mix is splitmix64's output function.
func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}
