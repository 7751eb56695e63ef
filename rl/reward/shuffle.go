package reward

import "github.com/zerosearch-go/zerosearch/num"

// ShuffledGolds gives every question the golds of another question, for the reward "shuffled". It takes the first
// question along Derange's cycle whose golds have no word in common with its own. If there is none the golds are empty
// and every reward is 0. Golds that share a word must not be used: where rewards are rare, group normalisation and
// AdamW turn each of them into a full optimizer step, and one right answer in a hundred is enough for the policy to
// learn. golds and the result have the shape [questions][answers].
func ShuffledGolds(golds [][]string, seed uint64) [][]string {
	next := Derange(len(golds), seed)
	out := make([][]string, len(golds))
	for i, own := range golds {
		for j := next[i]; j != i; j = next[j] {
			if !shareWords(own, golds[j]) {
				out[i] = golds[j]
				break
			}
		}
	}
	return out
}

func shareWords(a, b []string) bool {
	for _, x := range a {
		if F1(x, b) > 0 {
			return true
		}
	}
	return false
}

// Derange returns a permutation p of 0..n-1 without a fixed point (n >= 2), the same for the same n and seed. It is a
// single cycle through all elements (Sattolo 1986), drawn by SplitMix64.
func Derange(n int, seed uint64) []int {
	p := make([]int, n)
	for i := range p {
		p[i] = i
	}
	random := num.SplitMix(seed)
	for i := n - 1; i > 0; i-- {
		j := int(random.Next() % uint64(i)) // the bias of the remainder is below n/2^64
		p[i], p[j] = p[j], p[i]
	}
	return p
}
