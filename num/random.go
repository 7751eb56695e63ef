package num

// Randomness. Random numbers are a function of a stream and a position (a counter-based generator). A caller computes
// the stream with Stream from everything that identifies a draw (seed, purpose, step, slot, attempt, rollout, turn);
// the position is that of the token in its sequence. So neither concurrency nor batching nor preemption changes what is
// drawn, and a device can draw without the host.
//
// The generator is SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, OOPSLA 2014), which
// can jump to any output: output i of seed s is Mix(s + (i+1)*Gamma).

// Gamma is what SplitMix64 adds to its state at every output.
const Gamma = 0x9E3779B97F4A7C15

// Mix is SplitMix64's output function: a bijection in which every bit of the input changes about half of the output's.
func Mix(z uint64) uint64 {
	z = (z ^ z>>30) * mix1
	z = (z ^ z>>27) * mix2
	return z ^ z>>31
}

const mix1, mix2 = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB

// Unmix is the inverse of Mix. Tests use it to find the state that gives a wanted output.
func Unmix(z uint64) uint64 {
	z ^= z>>31 ^ z>>62
	z *= inverse(mix2)
	z ^= z>>27 ^ z>>54
	z *= inverse(mix1)
	return z ^ z>>30 ^ z>>60
}

// inverse of an odd number modulo 2^64, by Newton's iteration.
func inverse(x uint64) uint64 {
	y := x
	for range 6 {
		y *= 2 - x*y
	}
	return y
}

// SplitMix is a SplitMix64 generator; its value is the state, the seed at the beginning.
type SplitMix uint64

// Next is the next output.
func (s *SplitMix) Next() uint64 {
	*s += Gamma
	return Mix(uint64(*s))
}

// Stream hashes parts, in order, into the number of a random stream. Changing a single part always changes it.
func Stream(parts ...uint64) uint64 {
	h := Mix(uint64(len(parts)) + Gamma)
	for _, p := range parts {
		h = Mix(Mix(h+Gamma) + p)
	}
	return h
}

// Uniform is a number in [0, 1), uniform with 53 bits: output position of SplitMix64 seeded with stream.
func Uniform(stream uint64, position int) float64 {
	return float64(Mix(stream+(uint64(position)+1)*Gamma)>>11) / (1 << 53)
}
