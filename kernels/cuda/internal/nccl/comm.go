//go:build !nogpu && linux

package nccl

import (
	"fmt"
	"sync"
	"unsafe"

	"github.com/zerosearch-go/zerosearch/kernels/cuda/internal/driver"
	"github.com/zerosearch-go/zerosearch/kernels/cuda/internal/gpu"
)

// ID asks the library for an id.
func (l *Library) ID() ([]byte, error) {
	id := new(ID)
	s := l.t.call(l.t.GetUniqueId, uintptr(unsafe.Pointer(id)))
	return id.Internal[:], l.t.check(s, "making an id")
}

// foreigner is a GPU of package driver, with or without a library of matrix products.
type foreigner interface {
	Current() (leave func())
	Stream() uintptr
}

// comm is the communicator (ncclComm_t) of a GPU.
type comm struct {
	t    *table
	g    foreigner
	rank int

	mu     sync.Mutex
	handle uintptr // 0: closed or aborted
}

// Join makes g a rank of a new communicator: see gpu.Joiner.
func (l *Library) Join(g gpu.GPU, id []byte, rank, n int) (gpu.Comm, error) {
	x, ok := g.(foreigner)
	if !ok || len(id) != len(ID{}.Internal) {
		return nil, fmt.Errorf("joining by NCCL: a %T and an id of %d bytes", g, len(id))
	}
	defer driver.KeepSignals()()
	defer x.Current()()
	c := &comm{t: l.t, g: x, rank: rank}
	s := status(uint32(l.join(&c.handle, int32(n), ID{[128]byte(id)}, int32(rank))))
	if err := l.t.check(s, fmt.Sprintf("joining the GPU to those of %d ranks", n)); err != nil {
		return nil, err
	}
	return c, nil
}

// queue calls f, which queues an operation, with the communicator's handle while the context of the GPU is current.
func (c *comm) queue(doing string, f func(handle, stream uintptr) status) error {
	c.mu.Lock()
	handle := c.handle
	c.mu.Unlock()
	if handle == 0 {
		return fmt.Errorf("%s: the GPUs are not joined any more", doing)
	}
	defer c.g.Current()()
	return c.t.check(f(handle, c.g.Stream()), doing)
}

// AllToAll queues a group of ncclSend and ncclRecv.
func (c *comm) AllToAll(recv, send []gpu.Span) error {
	return c.queue("sending to the GPUs of the other ranks", func(handle, stream uintptr) status {
		s := c.t.call(c.t.GroupStart)
		note := func(x status) {
			if s == success {
				s = x
			}
		}
		if s != success {
			return s
		}
		for r := range recv {
			if send[r].Bytes > 0 {
				note(c.t.call(c.t.Send, uintptr(send[r].At), uintptr(send[r].Bytes), typeByte, uintptr(r), handle,
					stream))
			}
			if recv[r].Bytes > 0 {
				note(c.t.call(c.t.Recv, uintptr(recv[r].At), uintptr(recv[r].Bytes), typeByte, uintptr(r), handle,
					stream))
			}
		}
		note(c.t.call(c.t.GroupEnd))
		return s
	})
}

// AllGather queues ncclAllGather.
func (c *comm) AllGather(recv gpu.Ptr, own gpu.Span) error {
	if own.Bytes == 0 {
		return nil
	}
	return c.queue("gathering from the GPUs of all ranks", func(handle, stream uintptr) status {
		return c.t.call(c.t.AllGather, uintptr(own.At), uintptr(recv), uintptr(own.Bytes), typeByte, handle, stream)
	})
}

// Abort ends kernels that wait for other ranks (ncclCommAbort).
func (c *comm) Abort() error { return c.end(c.t.CommAbort, "giving up the exchange with other GPUs") }

// Close leaves the communicator.
func (c *comm) Close() error { return c.end(c.t.CommDestroy, "leaving the other GPUs") }

func (c *comm) end(fn uintptr, doing string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	handle := c.handle
	if c.handle = 0; handle == 0 {
		return nil
	}
	defer c.g.Current()()
	return c.t.check(c.t.call(fn, handle), doing)
}
