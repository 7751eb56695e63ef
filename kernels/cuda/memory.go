package cuda

import (
	"fmt"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/cuda/internal/gpu"
)

// buffer is memory of a device.
type buffer struct {
	d     *Device
	p     gpu.Ptr
	bytes int64
}

func (b *buffer) Bytes() int64 { return b.bytes }

// Free gives the memory back when the work queued so far has ended.
func (b *buffer) Free() {
	if b.d == nil {
		panic("cuda: second Free of a buffer")
	}
	b.d.outside("Free")
	b.d.note(b.d.gpu.Free(b.p))
	b.d = nil
}

// Alloc returns zeroed memory.
func (d *Device) Alloc(bytes int64) (kernels.Buffer, error) {
	b, err := d.alloc(bytes)
	if err != nil {
		return nil, err
	}
	return b, nil
}

// alloc is zeroed memory, at least one byte of it, so that every buffer has an address of its own.
func (d *Device) alloc(bytes int64) (*buffer, error) {
	d.outside("Alloc")
	if bytes < 0 {
		fail("Alloc", "%d bytes", bytes)
	}
	p, err := d.gpu.Alloc(max(bytes, 1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d.name, err)
	}
	if err := d.gpu.Zero(p, max(bytes, 1)); err != nil {
		d.gpu.Free(p)
		return nil, fmt.Errorf("%s: %w", d.name, err)
	}
	return &buffer{d, p, bytes}, nil
}

// Upload queues a copy from the host.
func (d *Device) Upload(dst kernels.Tensor, src []byte) {
	d.note(d.gpu.Upload(d.transfer("Upload", dst, len(src)), src))
}

// Fetch queues a copy to the host.
func (d *Device) Fetch(dst []byte, src kernels.Tensor) kernels.Ticket {
	e, err := d.gpu.Download(dst, d.transfer("Fetch", src, len(dst)))
	d.note(err)
	return ticket{d.name, d.err, e}
}

// ticket is a result on its way, or the error that prevented it.
type ticket struct {
	device string
	err    error
	e      gpu.Event
}

func (t ticket) Wait() error {
	if t.err != nil {
		return t.err
	}
	if err := t.e.Wait(); err != nil {
		return fmt.Errorf("%s: %w", t.device, err)
	}
	return nil
}

func (d *Device) transfer(op string, t kernels.Tensor, bytes int) gpu.Ptr {
	d.outside(op)
	if !t.Dense() || t.Len()*t.Type.Size() != bytes {
		fail(op, "%v and %d bytes of the host", t, bytes)
	}
	return d.at(op, "the tensor", t)
}

// Zero clears t.
func (d *Device) Zero(t kernels.Tensor) {
	p := d.at("Zero", "t", t)
	size := int64(t.Type.Size())
	if t.Dense() {
		d.note(d.gpu.Zero(p, int64(t.Len())*size))
		return
	}
	for r := range t.Rows {
		d.note(d.gpu.Zero(p+gpu.Ptr(int64(r*t.Stride)*size), int64(t.Cols)*size))
	}
}

// at is the address of t's first element. It panics unless all of t lies in a buffer of d.
func (d *Device) at(op, what string, t kernels.Tensor) gpu.Ptr {
	b, ok := t.Buf.(*buffer)
	if !ok || b.d != d {
		fail(op, "%s, %v, is not memory of %s: %T", what, t, d.name, t.Buf)
	}
	size := t.Type.Size()
	if size == 0 || t.Rows < 0 || t.Cols < 0 || t.Off < 0 || t.Rows > 1 && t.Stride < t.Cols {
		fail(op, "%s is %v at element %d", what, t, t.Off)
	}
	if t.Len() > 0 && int64(t.Off+(t.Rows-1)*t.Stride+t.Cols)*int64(size) > b.bytes {
		fail(op, "%s, %v at element %d, lies beyond its buffer of %d bytes", what, t, t.Off, b.bytes)
	}
	return b.p + gpu.Ptr(t.Off*size)
}

// tensor is at for a tensor of a type and shape; -1: any number of them.
func (d *Device) tensor(op, what string, t kernels.Tensor, dt kernels.DType, rows, cols int) gpu.Ptr {
	if t.IsZero() || t.Type != dt || rows >= 0 && t.Rows != rows || cols >= 0 && t.Cols != cols {
		fail(op, "%s is %v, want %v[%d, %d]", what, t, dt, rows, cols)
	}
	return d.at(op, what, t)
}

// f32 is tensor of F32.
func (d *Device) f32(op, what string, t kernels.Tensor, rows, cols int) gpu.Ptr {
	return d.tensor(op, what, t, kernels.F32, rows, cols)
}

// vector is f32 of a dense tensor.
func (d *Device) vector(op, what string, t kernels.Tensor, rows, cols int) gpu.Ptr {
	if !t.Dense() {
		fail(op, "%s, %v, is not dense", what, t)
	}
	return d.f32(op, what, t, rows, cols)
}

// maybe is vector, or 0 if t is none.
func (d *Device) maybe(op, what string, t kernels.Tensor, rows, cols int) gpu.Ptr {
	if t.IsZero() {
		return 0
	}
	return d.vector(op, what, t, rows, cols)
}

// scratch is memory for the time of one operation. Each purpose has its own. It keeps its address while recordings use
// it, also when a larger piece has replaced it.
type scratch struct {
	p        gpu.Ptr
	bytes    int64
	users    int  // recordings
	replaced bool // by a larger piece
}

// Purposes of scratch: operations that call each other use different ones.
const (
	forGemm      = iota // operands of a product, converted
	forPartials         // of sums and of attention
	forLogits           // a chunk of the vocabulary
	forResults          // of operations that call a product
	forHidden           // states, converted once for several products
	forAttention        // converted operands of attention
	forProduct          // what the library computes, aligned
	scratches
)

// need is scratch memory of at least this many bytes. It is 0 after an error, when nothing is launched any more.
func (d *Device) need(purpose int, bytes int64) gpu.Ptr {
	if bytes == 0 {
		return 0
	}
	s := d.scratch[purpose]
	if s == nil || s.bytes < bytes {
		if s = d.growScratch(purpose, bytes); s == nil {
			return 0
		}
	}
	if d.recording != nil {
		d.recording.keep(s)
	}
	return s.p
}

// growScratch replaces the scratch of a purpose by a larger piece; nil after an error.
func (d *Device) growScratch(purpose int, bytes int64) *scratch {
	if d.recording != nil {
		d.note(errScratch)
		return nil
	}
	d.dropScratch(purpose)
	bytes += bytes / 4
	p, err := d.gpu.Alloc(bytes)
	if err != nil {
		d.note(fmt.Errorf("scratch memory: %w", err))
		return nil
	}
	d.scratch[purpose] = &scratch{p: p, bytes: bytes}
	return d.scratch[purpose]
}

func (d *Device) dropScratch(purpose int) {
	if s := d.scratch[purpose]; s != nil {
		s.replaced = true
		s.drop(d)
	}
	d.scratch[purpose] = nil
}

// drop frees s if nothing will use it any more.
func (s *scratch) drop(d *Device) {
	if s.replaced && s.users == 0 {
		d.note(d.gpu.Free(s.p))
	}
}
