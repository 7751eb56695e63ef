//go:build !unix

package cpu

import "unsafe"

func mapMemory(n int) ([]byte, func() error, error) {
	return heapMemory(n), nil, nil
}

// heapMemory serves where there is no mmap.
func heapMemory(n int) []byte {
	b := make([]byte, n+align)
	skip := int(-uintptr(unsafe.Pointer(&b[0])) & (align - 1))
	return b[skip:][:n:n]
}
