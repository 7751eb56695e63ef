package config

// Purposes that the seed of a run is split into.
const (
	PurposeTrain = 1 + iota
	PurposeEval
	PurposeAdapter
	PurposeCritic
)
