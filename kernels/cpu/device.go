// Package cpu is the kernels.Device of the processor: packed weights, a pool of spinning workers, generated assembly.
//
// Every operation has finished when its call returns, so Sync has nothing to wait for. Results do not depend on the
// number of threads. All paths but AMX accumulate in the order that package kernels calls the chain, and their results
// agree bit for bit, except where denormal numbers occur.
package cpu

import (
	"fmt"
	"runtime"
	"unsafe"

	"github.com/zerosearch-go/zerosearch/kernels"
)

var _ kernels.Device = (*Device)(nil)

// Options of a Device.
type Options struct {
	// Threads that work on an operation, the caller's included. 0: one for each processor the Go scheduler may use.
	Threads int
}

// Device runs operations on the processor. It belongs to one goroutine at a time.
type Device struct {
	isa     isa
	pool    *pool
	arena   [slots]*buffer // scratch of operations, by slot; grows and stays
	gemm    gemmState
	amxAttn *attnKernels // attention on AMX, nil where the path has none
	blocks  []attnBlock  // of attention, by worker
	slabs   slabs        // of weights
	kept    keptLogits
}

// New makes a device on the path that Paths has in use.
func New(o Options) (*Device, error) {
	if pathsErr != nil {
		return nil, fmt.Errorf("choose the cpu's instructions: %w", pathsErr)
	}
	if o.Threads < 0 || o.Threads > maxThreads {
		return nil, fmt.Errorf("make a cpu device: %d threads: use 1 to %d, or 0 for one a processor", o.Threads,
			maxThreads)
	}
	if o.Threads == 0 {
		o.Threads = min(runtime.GOMAXPROCS(0), maxThreads)
	}
	d := &Device{isa: isaNamed(Paths.Used()), pool: newPool(o.Threads)}
	d.gemm.init(d)
	d.amxAttn = attnAMXOf(d.isa)
	d.blocks = make([]attnBlock, d.pool.threads)
	return d, nil
}

// Name is "cpu".
func (d *Device) Name() string { return "cpu" }

// Path is the name of the implementation that this device runs, as in Paths.
func (d *Device) Path() string { return d.isa.String() }

// Threads is the number of threads that work on an operation.
func (d *Device) Threads() int { return d.pool.threads }

// Alloc returns zeroed memory outside the Go heap.
func (d *Device) Alloc(bytes int64) (kernels.Buffer, error) { return newBuffer(bytes) }

// Upload copies src into dst.
func (d *Device) Upload(dst kernels.Tensor, src []byte) { copy(raw(dst, len(src)), src) }

// Fetch copies src to dst.
func (d *Device) Fetch(dst []byte, src kernels.Tensor) kernels.Ticket {
	copy(dst, raw(src, len(dst)))
	return kernels.Done()
}

// Operand is F32: products pack their operands, which rounds them.
func (d *Device) Operand(kernels.DType) kernels.DType { return kernels.F32 }

// Sync returns nil: operations have finished when they return.
func (d *Device) Sync() error { return nil }

// Close stops the workers and releases the scratch memory.
func (d *Device) Close() error {
	d.pool.close()
	d.slabs.close()
	for i, b := range d.arena {
		if b != nil {
			b.Free()
			d.arena[i] = nil
		}
	}
	return nil
}

// slots name the pieces of scratch that operations keep between calls. An operation that calls another must not share
// its slot.
const (
	slotA        = iota // matmul: packed rows
	slotB               // matmul: panels made from tensors (dW) or from other panels (dX)
	slotChains          // matmul: partial sums of chains that are computed in pieces
	slotRows            // used by row operations
	slotAttn            // used by attention
	slotLoss            // used by the losses
	slotPanels          // matmul: the panel in use of each worker, in the layout of the microkernel
	slotAdapters        // matmul: packed U of LoRA adapters; also their dW
	slotAdapterB        // matmul: transposed panels of LoRA adapters
	slots
)

// scratch returns bytes of memory, aligned to 64, with arbitrary contents, valid until slot is asked for again.
func (d *Device) scratch(slot, bytes int) []byte {
	if b := d.arena[slot]; b == nil || len(b.mem) < bytes {
		if b != nil {
			b.Free()
		}
		n, err := newBuffer(int64(bytes + bytes/4))
		if err != nil {
			panic(fmt.Sprintf("cpu: %d bytes of scratch: %v", bytes, err))
		}
		d.arena[slot] = n
	}
	return d.arena[slot].mem[:bytes]
}

// elems sees the bytes of scratch as elements.
func elems[E any](b []byte) []E {
	if len(b) == 0 {
		return nil
	}
	return unsafe.Slice((*E)(unsafe.Pointer(&b[0])), len(b)/int(unsafe.Sizeof(*new(E))))
}

// view is the elements of t from its first to its last, gaps of a stride included: element (r, c) is at r*t.Stride + c.
func view[E any](t kernels.Tensor, want kernels.DType) []E {
	if t.Type != want {
		panic(fmt.Sprintf("cpu: %v given where %v is needed", t, want))
	}
	n := 0
	if t.Rows > 0 && t.Cols > 0 {
		n = (t.Rows-1)*t.Stride + t.Cols
	}
	b, ok := t.Buf.(*buffer)
	if !ok || t.Off < 0 || n < 0 || t.Rows > 1 && t.Stride < t.Cols || (t.Off+n)*want.Size() > len(b.mem) {
		panic(fmt.Sprintf("cpu: %v at %d is not within its buffer of this device", t, t.Off))
	}
	return elems[E](b.mem)[t.Off : t.Off+n : t.Off+n]
}

func f32(t kernels.Tensor) []float32 { return view[float32](t, kernels.F32) }
func f64(t kernels.Tensor) []float64 { return view[float64](t, kernels.F64) }
func bf16(t kernels.Tensor) []uint16 { return view[uint16](t, kernels.BF16) }
func i32(t kernels.Tensor) []int32   { return view[int32](t, kernels.I32) }

// raw is the bytes of a dense tensor, which must be n.
func raw(t kernels.Tensor, n int) []byte {
	size := t.Type.Size()
	if !t.Dense() || t.Len()*size != n {
		panic(fmt.Sprintf("cpu: %d host bytes for %v", n, t))
	}
	b, ok := t.Buf.(*buffer)
	if !ok || t.Off < 0 || t.Off*size+n > len(b.mem) {
		panic(fmt.Sprintf("cpu: %v at %d is not within its buffer of this device", t, t.Off))
	}
	return b.mem[t.Off*size:][:n]
}

// shape panics unless t is [rows, cols].
func shape(op, name string, t kernels.Tensor, rows, cols int) {
	if t.Rows != rows || t.Cols != cols {
		panic(fmt.Sprintf("cpu: %s: %s is %v, not [%d, %d]", op, name, t, rows, cols))
	}
}
