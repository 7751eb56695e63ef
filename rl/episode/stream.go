package episode

import "github.com/zerosearch-go/zerosearch/num"

// The purposes for which random streams are derived from a task's seed.
const (
	purposePolicy = 1 + iota
	purposeSearch
)

// SearchStream gives search.Query.Stream for the search in a turn, counted from 0, of a task with this seed.
func SearchStream(seed uint64, turn int) uint64 { return stream(seed, purposeSearch, turn) }

// stream hashes a task's seed, a purpose and a turn into the seed of a random stream (SplitMix64, chained).
func stream(seed uint64, purpose, turn int) uint64 {
	for _, part := range []uint64{uint64(purpose), uint64(turn)} {
		seed = num.Mix(seed+num.Gamma) + part*0xd6e8feb86659fd93
	}
	return num.Mix(seed)
}
