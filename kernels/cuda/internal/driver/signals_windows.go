//go:build !nogpu && windows

package driver

// keepSignals does nothing: Windows has no signal handlers that a library could replace.
func keepSignals() (restore func()) { return func() {} }
