// Package gpu is what kernels/cuda needs of a GPU: memory, one stream of work, and kernels. Package driver gives it by
// NVIDIA's driver.
package gpu

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Ptr is an address in the memory of a GPU; 0 is none.
type Ptr uint64

// Func is a kernel that was loaded.
type Func uint64

// Props are what decides how kernels are launched.
type Props struct {
	Name         string // "NVIDIA H200"
	Major, Minor int    // compute capability
	SMs          int    // multiprocessors
	Shared       int    // bytes of shared memory that a block can have at most
	Memory       int64  // bytes in all
}

// GPU is one GPU with one stream: what is queued runs in the order of the calls. Errors of queued work appear at a
// later call, at an event's Wait or at Sync, and stay. It is used by one thread at a time.
type GPU interface {
	Props() Props

	// Alloc returns memory aligned to 256 bytes, whose contents are unknown. Free takes it back when the work queued so
	// far has ended.
	Alloc(bytes int64) (Ptr, error)
	Free(p Ptr) error
	// Available is how many bytes could be allocated now.
	Available() (int64, error)

	// Upload queues a copy from the host; src may be reused when it returns. Download queues a copy to the host: dst
	// belongs to the GPU until the event was waited for.
	Upload(dst Ptr, src []byte) error
	Download(dst []byte, src Ptr) (Event, error)
	Copy(dst, src Ptr, bytes int64) error
	Zero(dst Ptr, bytes int64) error

	// Load compiles a PTX text and finds the kernels in it by name.
	Load(ptx string, names []string) ([]Func, error)
	// Launch queues a kernel. What a points to is read before it returns.
	Launch(f Func, g Grid, a *Args) error

	// Capture calls f and keeps the launches, copies within the GPU and clearings that f queues as a graph instead of
	// running them. f does nothing else with the GPU. Errors of these calls are those of Capture and do not stay. After
	// a panic of f nothing is kept.
	Capture(f func()) (Graph, error)

	Sync() error
	Close() error
}

// Graph is work that was captured. Launch queues it, Free destroys it when what was queued so far has ended.
type Graph interface {
	Launch() error
	Free() error
}

// Event is a moment in a stream. Wait returns when all that was queued before it has ended, with the first error of
// this work; any goroutine may call it, once.
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

// Reset forgets the parameters.
func (a *Args) Reset() *Args {
	a.n = 0
	return a
}

// Bytes is the parameter block.
func (a *Args) Bytes() []byte { return a.block[:a.n] }

// Ptr adds an address.
func (a *Args) Ptr(p Ptr) *Args { return a.put8(uint64(p)) }

// Int adds an int32: n must fit.
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
