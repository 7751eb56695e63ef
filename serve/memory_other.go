//go:build !linux

package serve

// residentBytes is the resident memory of this process; 0 if it is unknown.
func residentBytes() int64 { return 0 }
