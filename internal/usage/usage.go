// Package usage says what this process takes of the machine.
package usage

import (
	"bytes"
	"os"
	"strconv"
	"time"
)

// CPU is the processor time that the process has used on all cores; 0 where the system does not say.
func CPU() time.Duration { return cpu() }

// Memory is the memory in which the process is resident, in bytes, mapped files included; 0 where the system does not
// say.
func Memory() int64 {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	return pages(text) * int64(os.Getpagesize())
}

// pages reads the second number of /proc/PID/statm.
func pages(statm []byte) int64 {
	f := bytes.Fields(statm)
	if len(f) < 2 {
		return 0
	}
	n, _ := strconv.ParseInt(string(f[1]), 10, 64)
	return n
}
