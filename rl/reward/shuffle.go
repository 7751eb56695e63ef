package reward

// Derange returns a permutation p of 0..n-1 without a fixed point (n >= 2), the same for the same n and seed: under the reward
// "shuffled" the episodes of question i are scored against the golds of question p[i]. It is one cycle through all questions
// (Sattolo 1986), drawn by splitmix64.
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
