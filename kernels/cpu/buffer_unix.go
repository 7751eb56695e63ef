//go:build unix

package cpu

import (
	"runtime"

	"golang.org/x/sys/unix"
)

const madvHugePage = 14 // Linux: x/sys names it on that system only

// mapMemory maps zeroed anonymous pages. Large mappings ask for huge pages, which save TLB misses when weights are
// read. Linux aligns a mapping to huge pages when its length is a multiple of their size; a last, partial huge page
// stays on small pages.
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
		// the error is ignored: without huge pages the memory is only slower
		_ = unix.Madvise(m[:n/hugePage*hugePage], madvHugePage)
	}
	return m[:n:n], func() error { return unix.Munmap(m) }, nil
}
