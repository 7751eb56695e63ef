//go:build !nogpu && (linux || windows)

package driver

import (
	"sync"
	"unsafe"

	"github.com/zerosearch-go/zerosearch/kernels/cuda/internal/gpu"
)

// pieceBytes is the size of a piece of pinned memory. A longer copy is divided into pieces.
const pieceBytes = 16 << 20

// staging is pinned host memory through which copies to and from the GPU go: only copies of pinned memory run
// concurrently with other work. A piece is reused when its last copy has ended.
type staging struct {
	mu   sync.Mutex
	idle []*piece // oldest first
	all  []*piece

	filling *piece // the piece that uploads are appended to
}

// piece is pinned memory and the event of the last copy from or to it.
type piece struct {
	p       unsafe.Pointer
	event   uintptr
	pending bool
	filled  int // bytes of a piece for uploads that copies read
}

// maxPieces is the largest number of pieces for uploads.
const maxPieces = 4

// take returns a piece whose copies have ended: a new one while there are fewer than most (0: any number), else the
// idle piece that was used the longest time ago.
func (s *staging) take(g *GPU, most int) (*piece, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.idle) > 0 && (len(s.all) >= most && most > 0 || !s.idle[0].pending) {
		x := s.idle[0]
		s.idle = s.idle[1:]
		if !x.pending {
			return x, nil
		}
		x.pending = false
		return x, g.t.check(call(g.t.EventSynchronize, x.event), "waiting for a copy")
	}
	x := &piece{}
	if err := g.t.check(call(g.t.MemHostAlloc, uintptr(unsafe.Pointer(&x.p)), pieceBytes, 0),
		"allocating %d bytes of pinned memory", pieceBytes); err != nil {
		return nil, err
	}
	const noTiming = 2
	if err := g.t.check(call(g.t.EventCreate, uintptr(unsafe.Pointer(&x.event)), noTiming),
		"making an event"); err != nil {
		call(g.t.MemFreeHost, uintptr(x.p))
		return nil, err
	}
	s.all = append(s.all, x)
	return x, nil
}

func (s *staging) give(x *piece) {
	s.mu.Lock()
	s.idle = append(s.idle, x)
	s.mu.Unlock()
}

func (s *staging) close(g *GPU) {
	for _, x := range s.all {
		call(g.t.EventDestroy, x.event)
		call(g.t.MemFreeHost, uintptr(x.p))
	}
	s.all, s.idle, s.filling = nil, nil, nil
}

// bytes returns the first n bytes of x.
func (x *piece) bytes(n int) []byte { return unsafe.Slice((*byte)(x.p), n) }

// Upload copies src to pinned memory and queues a copy from there to the GPU. Short copies share a piece. It waits only
// if all pieces are full, and then for the oldest one.
func (g *GPU) Upload(dst gpu.Ptr, src []byte) error {
	for len(src) > 0 && g.failed() == nil {
		if g.up.filling == nil && g.note(g.fill()) != nil {
			break
		}
		x := g.up.filling
		n := copy(x.bytes(pieceBytes)[x.filled:], src)
		s := g.hot(g.t.MemcpyHtoD, uintptr(dst), uintptr(x.p)+uintptr(x.filled), uintptr(n), g.stream)
		if s != success {
			g.note(g.t.check(s, "copying %d bytes to the GPU", n))
		}
		if x.filled = (x.filled + n + 63) / 64 * 64; x.filled >= pieceBytes {
			g.note(g.t.check(g.hot(g.t.EventRecord, x.event, g.stream), "recording an event"))
			x.pending = true
			g.up.filling = nil
			g.up.give(x)
		}
		dst, src = dst+gpu.Ptr(n), src[n:]
	}
	return g.failed()
}

// fill chooses the next piece for uploads.
func (g *GPU) fill() error {
	defer g.t.current(g.ctx)()
	x, err := g.up.take(g, maxPieces)
	if err == nil {
		x.filled, g.up.filling = 0, x
	}
	return err
}

// Download queues a copy to pinned memory; the event's Wait copies it from there to dst. If dst is longer than a piece,
// it is complete when Download returns.
func (g *GPU) Download(dst []byte, src gpu.Ptr) (gpu.Event, error) {
	defer g.t.current(g.ctx)()
	for len(dst) > pieceBytes {
		e, err := g.fetch(dst[:pieceBytes], src)
		if err != nil {
			return nil, g.note(err)
		}
		if err := e.Wait(); err != nil {
			return nil, g.note(err)
		}
		dst, src = dst[pieceBytes:], src+pieceBytes
	}
	e, err := g.fetch(dst, src)
	return e, g.note(err)
}

// fetch is Download of at most one piece.
func (g *GPU) fetch(dst []byte, src gpu.Ptr) (*event, error) {
	x, err := g.down.take(g, 0)
	if err != nil {
		return nil, err
	}
	e := &event{g, x, dst}
	if err := g.t.check(call(g.t.MemcpyDtoH, uintptr(x.p), uintptr(src), uintptr(len(dst)), g.stream),
		"copying %d bytes from the GPU", len(dst)); err != nil {
		return nil, err
	}
	return e, g.t.check(call(g.t.EventRecord, x.event, g.stream), "recording an event")
}

// event marks the end of a copy to the host.
type event struct {
	g   *GPU
	x   *piece
	dst []byte
}

func (e *event) Wait() error {
	defer e.g.t.current(e.g.ctx)()
	defer e.g.down.give(e.x)
	if err := e.g.t.check(call(e.g.t.EventSynchronize, e.x.event), "waiting for a result"); err != nil {
		return e.g.note(err)
	}
	copy(e.dst, e.x.bytes(len(e.dst)))
	return nil
}
