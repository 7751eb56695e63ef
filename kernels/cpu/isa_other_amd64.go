//go:build !noasm && !linux

package cpu

// permitTiles says what is missing: only Linux is known to keep the tiles of each thread.
func permitTiles() string { return "Linux, for AMX tiles" }
