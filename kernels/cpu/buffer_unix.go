//go:build unix

package cpu

import (
	"runtime"

	"golang.org/x/sys/unix"
)

const madvHugePage = 14 // Linux: x/sys names it on that system only

// mapMemory maps zeroed anonymous pages; large ones ask for huge pages, which spare the TLB when weights stream
// through. Linux aligns a mapping to them when its length is a multiple of their size; the last page that is not whole
// stays small.
func mapMemory(n int) ([]byte, func() error, error) {
	mapped := n
	if n >= hugePage {
		mapped = (n + hugePage - 1) / hugePage * hugePage
	}
	m, err := unix.Mmap(-1, 0, mapped, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return nil, nil, err
	}
	if runtime.GOOS == "linux" && n >= hugePage {
		_ = unix.Madvise(m[:n/hugePage*hugePage], madvHugePage) // advice: without it the memory is only slower
	}
	return m[:n:n], func() error { return unix.Munmap(m) }, nil
}
