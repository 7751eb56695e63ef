//go:build nogpu || !(linux || windows)

// Package driver would be a GPU by NVIDIA's driver: this build has none.
package driver
