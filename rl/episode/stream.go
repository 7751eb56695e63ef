package episode

// The purposes that a task's seed is split into.
const (
	purposePolicy = 1 + iota
	purposeSearch
)

// SearchStream names the search of a turn, counted from 0, of a task with this seed: what Query.Stream is.
func SearchStream(seed uint64, turn int) uint64 { return stream(seed, purposeSearch, turn) }

// stream hashes a task's seed, a purpose and a turn into the key of a random stream (splitmix64, chained).
func stream(seed uint64, purpose, turn int) uint64 {
	for _, part := range []uint64{uint64(purpose), uint64(turn)} {
		seed += 0x9e3779b97f4a7c15
		seed = (seed ^ seed>>30) * 0xbf58476d1ce4e5b9
		seed = (seed ^ seed>>27) * 0x94d049bb133111eb
		seed = (seed ^ seed>>31) + part*0xd6e8feb86659fd93
	}
	seed = (seed ^ seed>>30) * 0xbf58476d1ce4e5b9
	seed = (seed ^ seed>>27) * 0x94d049bb133111eb
	return seed ^ seed>>31
}
