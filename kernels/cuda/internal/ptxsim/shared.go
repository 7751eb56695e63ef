package ptxsim

import "fmt"

// sharedMem is the shared memory of the block that runs, with a history of every byte. Blocks follow each other in it;
// epochs count on, so that nothing has to be cleared between them.
type sharedMem struct {
	bytes []byte
	quads []history // of 16 bytes that were touched as a whole only
	words []history // of 4 bytes, likewise, where quads are split
	parts []history // of one byte, where words are split
	born  uint32    // epoch in which this block began
	epoch uint32    // barriers of all blocks so far
}

// history is the last write of some bytes, and what has read them since.
type history struct {
	wrote, read access
	pending     uint32 // if it is born: a copy of cp.async has not arrived
	split       uint32 // if it is born: smaller pieces have histories of their own
	readByMany  bool   // by several threads in read's epoch
	// the last write was atomic: any thread's, of which several may follow each other with no barrier
	atomic bool
}

// access is one by a thread: when, in barriers of the block and of the warp.
type access struct {
	epoch, warpEpoch uint32
	thread           int32 // within the block
}

// begin makes size bytes of unwritten memory, for a new block.
func (s *sharedMem) begin(size int) {
	if cap(s.bytes) < size {
		n := (size + 15) / 16
		s.bytes, s.quads = make([]byte, 16*n), make([]history, n)
		s.words, s.parts = make([]history, 4*n), make([]history, 16*n)
	}
	s.bytes = s.bytes[:size]
	s.epoch++
	s.born = s.epoch
}

// history is what is known of the byte at an offset, and how many bytes from there on it is about, for an aligned
// access of n bytes.
func (s *sharedMem) history(at, n int) (*history, int) {
	h := &s.quads[at/16]
	if h.split != s.born {
		if n >= 16 {
			return h, 16
		}
		h.divide(s.born, s.words[at/16*4:][:4])
	}
	if h = &s.words[at/4]; h.split != s.born {
		if n >= 4 {
			return h, 4
		}
		h.divide(s.born, s.parts[at/4*4:][:4])
	}
	return &s.parts[at], 1
}

// divide gives each piece the history h.
func (h *history) divide(born uint32, pieces []history) {
	for i := range pieces {
		pieces[i] = *h
	}
	h.split = born
}

// orderedBefore reports whether a happened before what a thread does now: it is the thread's own, or a barrier lies
// between.
func (s *sharedMem) orderedBefore(a access, w *warp, thread int32) bool {
	if a.thread == thread || a.epoch < s.epoch {
		return true
	}
	return a.thread/32 == thread/32 && a.warpEpoch < w.epoch
}

// read checks a read of n bytes at off by lane and returns them.
func (s *sharedMem) read(w *warp, lane, off, n int) ([]byte, error) {
	thread := w.thread(lane)
	for i, size := off, 0; i < off+n; i += size {
		var h *history
		h, size = s.history(i, n)
		switch {
		case h.pending == s.born:
			return nil, fmt.Errorf("shared byte %d: cp.async has not been waited for", i)
		case h.wrote.epoch < s.born:
			return nil, fmt.Errorf("shared byte %d was never written", i)
		case h.atomic && h.wrote.epoch == s.epoch:
			return nil, fmt.Errorf("shared byte %d: atomics changed it, and no barrier lies between", i)
		case !s.orderedBefore(h.wrote, w, thread):
			return nil, fmt.Errorf("shared byte %d: thread %d wrote it, and no barrier lies between", i, h.wrote.thread)
		}
		h.readByMany = h.read.epoch == s.epoch && (h.readByMany || h.read.thread != thread)
		h.read = access{s.epoch, w.epoch, thread}
	}
	return s.bytes[off : off+n], nil
}

// write checks a write of n bytes at off by lane and returns the place.
func (s *sharedMem) write(w *warp, lane, off, n int) ([]byte, error) {
	return s.change(w, lane, off, n, false)
}

// atomic checks an atomic change of n bytes at off by lane and returns them.
func (s *sharedMem) atomic(w *warp, lane, off, n int) ([]byte, error) {
	for i, size := off, 0; i < off+n; i += size {
		var h *history
		if h, size = s.history(i, n); h.wrote.epoch < s.born {
			return nil, fmt.Errorf("shared byte %d was never written", i)
		}
	}
	return s.change(w, lane, off, n, true)
}

func (s *sharedMem) change(w *warp, lane, off, n int, atomic bool) ([]byte, error) {
	thread := w.thread(lane)
	for i, size := off, 0; i < off+n; i += size {
		var h *history
		h, size = s.history(i, n)
		switch {
		case h.pending == s.born:
			return nil, fmt.Errorf("shared byte %d: written while cp.async is on its way to it", i)
		case h.wrote.epoch == s.epoch && h.atomic && atomic:
		case h.wrote.epoch == s.epoch && h.atomic:
			return nil, fmt.Errorf("shared byte %d: atomics changed it too, and no barrier lies between", i)
		case h.wrote.epoch >= s.born && !s.orderedBefore(h.wrote, w, thread):
			return nil, fmt.Errorf("shared byte %d: thread %d wrote it too, and no barrier lies between", i,
				h.wrote.thread)
		case h.read.epoch >= s.born && (!s.orderedBefore(h.read, w, thread) || h.readByMany &&
			!s.allReadersBefore(h, w, thread)):
			return nil, fmt.Errorf("shared byte %d: thread %d read it, and no barrier lies between", i, h.read.thread)
		}
		// A plain write that no barrier of the block has followed yet is not forgotten.
		h.atomic = atomic && (h.atomic || h.wrote.epoch < s.epoch)
		h.wrote = access{s.epoch, w.epoch, thread}
	}
	return s.bytes[off : off+n], nil
}

// allReadersBefore reports whether all that read a byte in h.read's epoch did so before now. Only the last of them is
// known: the others were before a barrier of the block, or else it must be taken that they were not.
func (s *sharedMem) allReadersBefore(h *history, w *warp, thread int32) bool {
	return h.read.epoch < s.epoch || h.read.thread/32 == thread/32 && h.read.warpEpoch < w.epoch
}

// copyAsync is one cp.async on its way: size bytes to off, of which the first n come from src, the others are zero.
type copyAsync struct {
	lane, off, size int
	src             []byte
}

// start marks the destination of c: no access is allowed until the copy has arrived.
func (s *sharedMem) start(w *warp, c copyAsync) error {
	if _, err := s.write(w, c.lane, c.off, c.size); err != nil {
		return err
	}
	for i, size := c.off, 0; i < c.off+c.size; i += size {
		var h *history
		h, size = s.history(i, c.size)
		h.pending = s.born
	}
	return nil
}

// arrive does the copy: it counts as written now.
func (s *sharedMem) arrive(w *warp, c copyAsync) {
	clear(s.bytes[c.off+copy(s.bytes[c.off:c.off+c.size], c.src) : c.off+c.size])
	for i, size := c.off, 0; i < c.off+c.size; i += size {
		var h *history
		h, size = s.history(i, c.size)
		h.pending, h.wrote, h.atomic = 0, access{s.epoch, w.epoch, w.thread(c.lane)}, false
	}
}
