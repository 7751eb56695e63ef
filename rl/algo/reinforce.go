package algo

// reinforce is the policy gradient itself (Williams 1992): l = -A logp, dl/dlogp = -A. No ratio, so one update a batch.
func reinforce(a, logp float64) token { return token{loss: -a * logp, grad: -a} }

// Returns are the discounted rewards to go of one trajectory, over its policy tokens only:
//
//	G_t = r_t + gamma G_next, next = the following policy token
//
// Masked tokens neither discount nor stop a return, so it reaches the turns before an observation; their own reward is
// dropped, and G at a masked place is 0.
func Returns(rewards []float64, mask []bool, gamma float64) []float64 {
	sameLen("returns", len(mask), rewards)
	out := make([]float64, len(mask))
	run := 0.0
	for t := len(mask) - 1; t >= 0; t-- {
		if mask[t] {
			run = rewards[t] + gamma*run
			out[t] = run
		}
	}
	return out
}
