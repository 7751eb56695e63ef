//go:build !noasm && !linux

package cpu

// permitAMX says what is missing: only Linux is known to keep the tiles of each thread.
func permitAMX() string { return "Linux, for AMX tiles" }
