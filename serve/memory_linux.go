package serve

import (
	"bytes"
	"os"
	"strconv"
)

// residentBytes is the resident memory of this process; 0 if it is unknown.
func residentBytes() int64 {
	b, err := os.ReadFile("/proc/self/statm")
	if f := bytes.Fields(b); err == nil && len(f) > 1 {
		n, _ := strconv.ParseInt(string(f[1]), 10, 64)
		return n * int64(os.Getpagesize())
	}
	return 0
}
