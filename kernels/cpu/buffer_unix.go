//go:build unix

package cpu

import (
	"runtime"

	"golang.org/x/sys/unix"
)

const (
	hugePage     = 2 << 20
	madvHugePage = 14 // Linux: x/sys names it on that system only
)

// mapMemory maps zeroed anonymous pages; large ones ask for huge pages, which spare the TLB when weights stream through.
func mapMemory(n int) ([]byte, func() error, error) {
	m, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return nil, nil, err
	}
	if runtime.GOOS == "linux" && n >= hugePage {
		_ = unix.Madvise(m, madvHugePage) // advice: without it the memory is only slower
	}
	return m, func() error { return unix.Munmap(m) }, nil
}
