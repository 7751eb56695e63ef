package reward

// Others gives every question the golds of another one, for the reward "shuffled": the first along Derange's cycle that has no word in
// common with its own, none (nothing can be won) where there is no such question. A shared answer must not pass: where rewards are rare,
// group normalisation and AdamW make full steps of the few there are, and one right answer in a hundred is enough to learn from.
func Others(golds [][]string, seed uint64) [][]string {
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

// Derange returns a permutation p of 0..n-1 without a fixed point (n >= 2), the same for the same n and seed. It is one
// cycle through all of them (Sattolo 1986), drawn by splitmix64.
func Derange(n int, seed uint64) []int {
	p := make([]int, n)
	for i := range p {
		p[i] = i
	}
	for i := n - 1; i > 0; i-- {
		seed += 0x9e3779b97f4a7c15
		z := seed
		z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		z ^= z >> 31
		j := int(z % uint64(i)) // the bias of the remainder is below n/2^64
		p[i], p[j] = p[j], p[i]
	}
	return p
}
