package cpu

import (
	"fmt"
)

// buffer is memory of the device.
type buffer struct {
	mem  []byte // what was asked for, aligned to 64 bytes
	free func() error
}

const (
	align    = 64
	hugePage = 2 << 20 // of x86-64 and of arm64 with pages of 4 KiB
)

func newBuffer(bytes int64) (*buffer, error) {
	if bytes < 0 || int64(int(bytes)) != bytes {
		return nil, fmt.Errorf("cpu: allocate %d bytes: impossible size", bytes)
	}
	if bytes == 0 {
		return &buffer{}, nil
	}
	mem, free, err := mapMemory(int(bytes))
	if err != nil {
		return nil, fmt.Errorf("cpu: allocate %d bytes: %w", bytes, err)
	}
	return &buffer{mem: mem, free: free}, nil
}

// Bytes is the size that was asked for.
func (b *buffer) Bytes() int64 { return int64(len(b.mem)) }

// Free returns the memory to the system. Freeing twice is harmless.
func (b *buffer) Free() {
	if b.free != nil {
		if err := b.free(); err != nil {
			panic(fmt.Sprintf("cpu: free %d bytes: %v", len(b.mem), err))
		}
	}
	b.mem, b.free = nil, nil
}
