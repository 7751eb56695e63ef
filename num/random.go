package num

// Randomness. A caller names a stream by an opaque number, made by Stream from whatever identifies a draw (seed, purpose, step, slot,
// attempt, rollout, turn); whoever draws adds the position of the token in its sequence. Nothing else is random, so that neither
// concurrency nor batching nor preemption changes what is drawn, and a device can draw without asking the host.
//
// The generator is SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, OOPSLA 2014), which can jump to
// any output: output i of seed s is mix(s + (i+1)*gamma).

const gamma = 0x9E3779B97F4A7C15

// mix is SplitMix64's finaliser, a bijection.
func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
	z = (z ^ z>>27) * 0x94D049BB133111EB
	return z ^ z>>31
}

// Stream hashes parts, in order, into the name of a random stream. Changing a single part always changes it.
func Stream(parts ...uint64) uint64 {
	h := mix(uint64(len(parts)) + gamma)
	for _, p := range parts {
		h = mix(mix(h+gamma) + p)
	}
	return h
}

// Uniform is a number in [0, 1), uniform with 53 bits: output position of SplitMix64 seeded with stream.
func Uniform(stream uint64, position int) float64 {
	return float64(mix(stream+(uint64(position)+1)*gamma)>>11) / (1 << 53)
}
