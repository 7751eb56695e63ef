package ptxsim

import (
	"fmt"
	"slices"
	"sort"
)

// Addresses of shared memory as generic pointers see them, and of the first allocation in global memory.
const (
	sharedBase  = uint64(1) << 40
	sharedAlign = 128
	globalBase  = uint64(1) << 20
	globalAlign = 256
)

// Memory is the global memory of a device. Between two allocations lies a gap that no access may touch.
type Memory struct {
	allocs []*allocation // by address
	next   uint64
	writer uint32 // serial number of the block that runs, over all launches
	launch uint32 // serial number of the first block of the launch
}

// allocation is memory from base on, with the last block that read and wrote each word of 4 bytes.
type allocation struct {
	base          uint64
	bytes         []byte
	readBy, wrote []uint32
}

// Alloc takes n bytes, filled with 0xff: NaN in every floating-point type.
func (m *Memory) Alloc(n int) uint64 {
	if m.next == 0 {
		m.next = globalBase
	}
	a := &allocation{base: m.next, bytes: make([]byte, n), readBy: make([]uint32, n/4+1), wrote: make([]uint32, n/4+1)}
	for i := range a.bytes {
		a.bytes[i] = 0xff
	}
	m.allocs = append(m.allocs, a)
	m.next += (uint64(n)+globalAlign-1)/globalAlign*globalAlign + globalAlign
	return a.base
}

// Free gives an allocation back; what still points to it is out of bounds from now on.
func (m *Memory) Free(addr uint64) error {
	i := slices.IndexFunc(m.allocs, func(a *allocation) bool { return a.base == addr })
	if i < 0 {
		return fmt.Errorf("freeing %#x, which was not allocated", addr)
	}
	m.allocs = slices.Delete(m.allocs, i, i+1)
	return nil
}

// Live is the number of allocations that were not freed.
func (m *Memory) Live() int { return len(m.allocs) }

// Bytes are n bytes at addr, as the host sees them.
func (m *Memory) Bytes(addr uint64, n int) ([]byte, error) {
	a, off, err := m.find(addr, n)
	if err != nil {
		return nil, err
	}
	return a.bytes[off : off+n], nil
}

// find is the allocation that holds n bytes at addr, and where in it.
func (m *Memory) find(addr uint64, n int) (*allocation, int, error) {
	i := sort.Search(len(m.allocs), func(i int) bool { return m.allocs[i].base > addr }) - 1
	if i >= 0 {
		a := m.allocs[i]
		if off := addr - a.base; off+uint64(n) <= uint64(len(a.bytes)) {
			return a, int(off), nil
		}
		return nil, 0, fmt.Errorf("%d bytes at %#x are out of bounds: the nearest allocation has %d bytes at %#x", n, addr, len(a.bytes), a.base)
	}
	return nil, 0, fmt.Errorf("%d bytes at %#x are out of bounds: nothing is allocated there", n, addr)
}

// access is find for a thread of the running block: it refuses what another block of the same launch has written, or has read when this
// one writes.
func (m *Memory) access(addr uint64, n int, write bool) ([]byte, error) {
	if addr%uint64(n) != 0 {
		return nil, fmt.Errorf("%d bytes at %#x: misaligned", n, addr)
	}
	a, off, err := m.find(addr, n)
	if err != nil {
		return nil, err
	}
	for w := off / 4; w <= (off+n-1)/4; w++ {
		other := func(b uint32) bool { return b >= m.launch && b != m.writer }
		if other(a.wrote[w]) || write && other(a.readBy[w]) {
			return nil, fmt.Errorf("%d bytes at %#x were touched by another block of this launch: the order of blocks is not defined", n, addr)
		}
		if write {
			a.wrote[w] = m.writer
		} else {
			a.readBy[w] = m.writer
		}
	}
	return a.bytes[off : off+n], nil
}
