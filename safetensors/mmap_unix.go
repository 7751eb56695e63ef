//go:build unix

package safetensors

import (
	"errors"
	"io"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mapFile maps the first size bytes of f for reading. File systems that cannot be mapped are read into memory instead.
func mapFile(f *os.File, size int) (data []byte, mapped bool, err error) {
	data, err = unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ, unix.MAP_SHARED)
	if errors.Is(err, unix.ENODEV) || errors.Is(err, unix.EOPNOTSUPP) {
		data = make([]byte, size)
		_, err = io.ReadFull(io.NewSectionReader(f, 0, int64(size)), data)
		return data, false, err
	}
	return data, err == nil, err
}

func unmap(data []byte) error { return unix.Munmap(data) }

// release drops the pages that hold part of a mapping. Those at its ends may hold neighbours too, which are then read
// again.
func release(mapping, part []byte) {
	offset := int(uintptr(unsafe.Pointer(unsafe.SliceData(part))) - uintptr(unsafe.Pointer(unsafe.SliceData(mapping))))
	page := os.Getpagesize()
	_ = unix.Madvise(mapping[offset/page*page:offset+len(part)], unix.MADV_DONTNEED) // a hint may fail
}
