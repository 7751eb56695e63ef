//go:build !linux

package serve

// residentBytes is the memory of this process; 0 where the system does not say.
func residentBytes() int64 { return 0 }
