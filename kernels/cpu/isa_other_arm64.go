//go:build !noasm && !linux && !darwin

package cpu

// hasBF16 is false: this system does not tell.
func hasBF16() bool { return false }
