//go:build !linux

package engine

// MachineMemory is unknown here.
func MachineMemory() *Machine { return nil }
