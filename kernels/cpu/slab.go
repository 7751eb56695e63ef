package cpu

import "sync"

// slabs allocates memory for weights. A matrix of a small model is smaller than a huge page. On pages of 4 KiB it is
// read at little more than half the memory bandwidth, because nearly every page is a TLB miss (9 instead of 16 GB/s on
// a virtual Xeon). Small matrices therefore share slabs of huge pages. A slab is returned to the system when all its
// matrices have been freed.
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

// alloc is newBuffer for long-lived memory.
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
		s.current = &slab{mem: mem, live: 1} // s itself holds one reference
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

// drop releases one reference to c.
func (s *slabs) drop(c *slab) {
	if c == nil {
		return
	}
	if c.live--; c.live == 0 {
		c.mem.Free()
	}
}

// close releases the current slab.
func (s *slabs) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(s.current)
	s.current = nil
}
