//go:build !noasm && !linux && !darwin

package cpu

// hasBF16 is false where nobody says.
func hasBF16() bool { return false }
