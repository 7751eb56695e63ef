//go:build !noasm && !linux

package cpu

// permitAMX returns what is missing: only Linux is known to save the AMX registers of each thread.
func permitAMX() string { return "Linux, for AMX tiles" }
