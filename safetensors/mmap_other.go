//go:build !unix && !windows

package safetensors

import (
	"io"
	"os"
)

// mapFile reads the first size bytes of f into memory: there is nothing to map with.
func mapFile(f *os.File, size int) (data []byte, mapped bool, err error) {
	data = make([]byte, size)
	_, err = io.ReadFull(io.NewSectionReader(f, 0, int64(size)), data)
	return data, false, err
}

func unmap([]byte) error { return nil }

func release(_, _ []byte) {}
