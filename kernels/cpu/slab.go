package cpu

import "sync"

// slabs hand out memory for weights. A matrix of a small model is smaller than a huge page, and on pages of 4 KiB it
// streams at little more than half the speed of memory: nearly every page costs a walk through the tables (9 instead of
// 16 GB/s on a virtual Xeon). Side by side in a slab they share huge pages. A slab goes back to the system when all
// that was cut from it has been freed.
type slabs struct {
	mu      sync.Mutex
	current *slab
}

const slabBytes = 16 * hugePage

type slab struct {
	mem  *buffer
	used int64
	live int
}

// alloc is newBuffer for what stays long.
func (s *slabs) alloc(bytes int64) (*buffer, error) {
	if bytes <= 0 || bytes > slabBytes/4 {
		return newBuffer(bytes)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current == nil || s.current.used+bytes > slabBytes {
		mem, err := newBuffer(slabBytes)
		if err != nil {
			return nil, err
		}
		s.drop(s.current)
		s.current = &slab{mem: mem, live: 1} // the one is s itself
	}
	c := s.current
	b := &buffer{mem: c.mem.mem[c.used:][:bytes:bytes], free: func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.drop(c)
		return nil
	}}
	c.used += (bytes + align - 1) / align * align
	c.live++
	return b, nil
}

// drop gives up one claim on c.
func (s *slabs) drop(c *slab) {
	if c == nil {
		return
	}
	if c.live--; c.live == 0 {
		c.mem.Free()
	}
}

// close gives up the slab that is being cut.
func (s *slabs) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(s.current)
	s.current = nil
}
