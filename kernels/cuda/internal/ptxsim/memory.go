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
	last   *allocation   // that was found
	next   uint64
	writer uint32 // serial number of the block that runs, over all launches
	launch uint32 // serial number of the first block of the launch
}

// allocation is memory from base on, with who touched each word of 4 bytes last.
type allocation struct {
	base        uint64
	bytes       []byte
	read, wrote []touch
}

// touch is the last block that read or wrote a word, and which of its bytes, a bit each: in the low half it itself, in
// the high half the blocks before it in this launch.
type touch struct {
	block uint32
	bytes uint8
}

// Alloc takes n bytes, filled with 0xff: NaN in every floating-point type.
func (m *Memory) Alloc(n int) uint64 {
	if m.next == 0 {
		m.next = globalBase
	}
	a := &allocation{base: m.next, bytes: make([]byte, n), read: make([]touch, n/4+1), wrote: make([]touch, n/4+1)}
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
	m.allocs, m.last = slices.Delete(m.allocs, i, i+1), nil
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
	if a := m.last; a != nil && addr >= a.base && addr-a.base+uint64(n) <= uint64(len(a.bytes)) {
		return a, int(addr - a.base), nil
	}
	i := sort.Search(len(m.allocs), func(i int) bool { return m.allocs[i].base > addr }) - 1
	if i >= 0 {
		a := m.allocs[i]
		if off := addr - a.base; off+uint64(n) <= uint64(len(a.bytes)) {
			m.last = a
			return a, int(off), nil
		}
		return nil, 0, fmt.Errorf("%d bytes at %#x are out of bounds: the nearest allocation has %d bytes at %#x", n,
			addr, len(a.bytes), a.base)
	}
	return nil, 0, fmt.Errorf("%d bytes at %#x are out of bounds: nothing is allocated there", n, addr)
}

// access is find for a thread of the running block: it refuses what another block of the same launch has written, or
// has read when this one writes.
func (m *Memory) access(addr uint64, n int, write bool) ([]byte, error) {
	if addr&uint64(n-1) != 0 { // n is a power of two
		return nil, fmt.Errorf("%d bytes at %#x: misaligned", n, addr)
	}
	a, off, err := m.find(addr, n)
	if err != nil {
		return nil, err
	}
	mine := uint8(15)
	if n < 4 {
		mine = (1<<n - 1) << (off % 4)
	}
	from, to := off/4, (off+n+3)/4
	wrote, read := a.wrote[from:to], a.read[from:to]
	mark := read
	if write {
		mark = wrote
	}
	for i := range mark {
		if m.others(&wrote[i], mine) || write && m.others(&read[i], mine) {
			return nil,
				fmt.Errorf(
					"%d bytes at %#x were touched by another block of this launch: the order of blocks is not defined",
					n, addr)
		}
		m.touched(&mark[i], mine)
	}
	return a.bytes[off : off+n], nil
}

// word is access for 4 bytes in the allocation that was found last, where no other thread has accessed it; nil: only
// access can decide.
func (m *Memory) word(addr uint64, write bool) []byte {
	a := m.last
	if a == nil || addr < a.base || addr-a.base+4 > uint64(len(a.bytes)) || addr&3 != 0 {
		return nil
	}
	off := int(addr - a.base)
	w, r := &a.wrote[off/4], &a.read[off/4]
	if m.others(w, 15) || write && m.others(r, 15) {
		return nil
	}
	if write {
		r = w
	}
	m.touched(r, 15)
	return a.bytes[off : off+4]
}

// others reports whether another block of this launch touched any of these bytes.
func (m *Memory) others(t *touch, bytes uint8) bool {
	return t.block >= m.launch && (t.bytes>>4&bytes != 0 || t.block != m.writer && t.bytes&bytes != 0)
}

// touched says that the running block touches these bytes.
func (m *Memory) touched(t *touch, bytes uint8) {
	switch {
	case t.block < m.launch:
		t.bytes = 0
	case t.block != m.writer:
		t.bytes = (t.bytes | t.bytes>>4) << 4
	}
	t.block, t.bytes = m.writer, t.bytes|bytes
}
