//go:build !linux

package main

// machineMemory is unknown here.
func machineMemory() *memory { return nil }
