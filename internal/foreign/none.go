//go:build nogpu || !(linux || windows)

// Package foreign would call functions of C libraries: this build loads none.
package foreign
