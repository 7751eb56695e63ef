// Package gpu declares what kernels/cuda needs of a GPU: memory, one stream of work, and kernels. Package driver
// implements it with NVIDIA's driver.
package gpu

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Ptr is an address in the memory of a GPU; 0 is none.
type Ptr uint64

// Func is a loaded kernel.
type Func uint64

// Props are the properties of a GPU that decide how kernels are launched.
type Props struct {
	Name         string // "NVIDIA H200"
	Major, Minor int    // compute capability
	SMs          int    // multiprocessors
	Shared       int    // bytes of shared memory that a block can have at most
	Memory       int64  // bytes of memory in all
}

// GPU is one GPU with one stream: queued work runs in the order of the calls. A later call, an event's Wait or Sync
// returns the error of queued work, and so do all calls after that. One thread at a time may use it.
type GPU interface {
	Props() Props

	// Alloc returns uninitialised memory aligned to 256 bytes. Free releases it when the work that is queued so far has
	// ended.
	Alloc(bytes int64) (Ptr, error)
	Free(p Ptr) error
	// Available returns the number of bytes that could be allocated now.
	Available() (int64, error)

	// Upload queues a copy from the host; src may be reused when it returns. Download queues a copy to the host: dst
	// belongs to the GPU until the event was waited for.
	Upload(dst Ptr, src []byte) error
	Download(dst []byte, src Ptr) (Event, error)
	Copy(dst, src Ptr, bytes int64) error
	Zero(dst Ptr, bytes int64) error

	// Load compiles a PTX text and finds the kernels in it by name.
	Load(ptx string, names []string) ([]Func, error)
	// Launch queues a kernel. It reads the parameters a before it returns.
	Launch(f Func, g Grid, a *Args) error

	// Capture calls f and records what f queues (launches, copies within the GPU, Zero) as a graph instead of running
	// it. f must not use the GPU otherwise. Capture returns the errors of these calls, and later calls do not. If f
	// panics, nothing is recorded.
	Capture(f func()) (Graph, error)

	Sync() error
	Close() error
}

// Graph is captured work. Launch queues it. Free destroys it when the work that is queued so far has ended.
type Graph interface {
	Launch() error
	Free() error
}

// Event is a position in a stream. Wait returns when all work that was queued before it has ended, with the first error
// of this work. It may be called once, by any goroutine.
type Event interface{ Wait() error }

// Grid is how a kernel is launched: blocks in three dimensions (Y and Z at most 65535), threads in a block, dynamic
// shared memory in bytes.
type Grid struct {
	X, Y, Z int
	Threads int
	Dynamic int
}

// Args are the parameters of a kernel as its parameter block holds them, each aligned to its size.
type Args struct {
	block [256]byte
	n     int
}

// Reset removes all parameters.
func (a *Args) Reset() *Args {
	a.n = 0
	return a
}

// Bytes returns the parameter block.
func (a *Args) Bytes() []byte { return a.block[:a.n] }

// Ptr adds an address.
func (a *Args) Ptr(p Ptr) *Args { return a.put8(uint64(p)) }

// Int adds an int32; n must fit into it.
func (a *Args) Int(n int) *Args {
	if n != int(int32(n)) {
		panic(fmt.Sprintf("gpu: argument %d does not fit into 32 bits", n))
	}
	binary.LittleEndian.PutUint32(a.room(4), uint32(n))
	return a
}

// Long adds an int64.
func (a *Args) Long(n int64) *Args { return a.put8(uint64(n)) }

// Float adds a float32.
func (a *Args) Float(x float32) *Args {
	binary.LittleEndian.PutUint32(a.room(4), math.Float32bits(x))
	return a
}

// Double adds a float64.
func (a *Args) Double(x float64) *Args { return a.put8(math.Float64bits(x)) }

func (a *Args) put8(x uint64) *Args {
	binary.LittleEndian.PutUint64(a.room(8), x)
	return a
}

func (a *Args) room(n int) []byte {
	from := (a.n + n - 1) / n * n
	clear(a.block[a.n:from])
	a.n = from + n
	return a.block[from:a.n]
}
