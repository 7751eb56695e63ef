package engine

import "github.com/zerosearch-go/zerosearch/num"

// Stream names the random numbers of a request by what identifies it (seed, purpose, step, slot, attempt, rollout,
// turn): see num.Stream.
func Stream(parts ...uint64) uint64 { return num.Stream(parts...) }
