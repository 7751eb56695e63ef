package kernels

import (
	"fmt"
	"unsafe"
)

// Buffer is a piece of one device's memory. The host reaches its bytes only by Device.Upload and Fetch. The code that
// allocated a buffer must free it; there are no finalizers. A buffer may be freed while queued work still uses it: the
// device delays freeing (CUDA frees in stream order).
type Buffer interface {
	Bytes() int64
	Free()
}

// Tensor is a strided matrix in a Buffer, the operand of operations. Element (r, c) is element Off + r*Stride + c of
// the buffer, counted in elements of Type. A vector of n elements is [1, n] or [n, 1] with Stride 1, as the operation
// says. The zero Tensor means "none" where an operation allows it.
type Tensor struct {
	Buf                Buffer
	Off                int
	Rows, Cols, Stride int
	Type               DType
}

// Mat is a dense [rows, cols] tensor that starts off elements into b.
func Mat(b Buffer, t DType, off, rows, cols int) Tensor {
	return Tensor{Buf: b, Off: off, Rows: rows, Cols: cols, Stride: cols, Type: t}
}

// Range is elements [From, To) of a dense tensor in row-major order.
type Range struct{ From, To int }

// IsZero reports whether t is the zero Tensor, "none".
func (t Tensor) IsZero() bool { return t.Buf == nil }

// Len is the number of elements.
func (t Tensor) Len() int { return t.Rows * t.Cols }

// Dense reports whether the elements follow each other without gaps.
func (t Tensor) Dense() bool { return t.Stride == t.Cols || t.Rows <= 1 }

// RowRange is rows [r, r+n) of t.
func (t Tensor) RowRange(r, n int) Tensor {
	if r < 0 || n < 0 || r+n > t.Rows {
		panic(fmt.Sprintf("kernels: rows [%d, %d) of %v", r, r+n, t))
	}
	t.Off, t.Rows = t.Off+r*t.Stride, n
	return t
}

// ColRange is columns [c, c+n) of t.
func (t Tensor) ColRange(c, n int) Tensor {
	if c < 0 || n < 0 || c+n > t.Cols {
		panic(fmt.Sprintf("kernels: columns [%d, %d) of %v", c, c+n, t))
	}
	t.Off, t.Cols = t.Off+c, n
	return t
}

// Reshape views a dense tensor as [rows, cols].
func (t Tensor) Reshape(rows, cols int) Tensor {
	if !t.Dense() || rows*cols != t.Len() {
		panic(fmt.Sprintf("kernels: reshape %v to [%d, %d]", t, rows, cols))
	}
	t.Rows, t.Cols, t.Stride = rows, cols, cols
	return t
}

// String shows shape and type, for panics.
func (t Tensor) String() string {
	if t.IsZero() {
		return "none"
	}
	if t.Dense() {
		return fmt.Sprintf("%v[%d, %d]", t.Type, t.Rows, t.Cols)
	}
	return fmt.Sprintf("%v[%d, %d] stride %d", t.Type, t.Rows, t.Cols, t.Stride)
}

// Elem is a Go type that a dense tensor can be copied from and to.
type Elem interface {
	~float32 | ~float64 | ~int32 | ~uint16 | ~uint8
}

// Upload copies src, row-major, into the dense tensor dst.
func Upload[E Elem](d Device, dst Tensor, src []E) {
	checkHost(dst, len(src), int(unsafe.Sizeof(*new(E))))
	if len(src) > 0 {
		d.Upload(dst, unsafe.Slice((*byte)(unsafe.Pointer(&src[0])), len(src)*int(unsafe.Sizeof(src[0]))))
	}
}

// Download waits for all work queued before it and copies the dense tensor src into dst. It returns the first error of
// that work.
func Download[E Elem](d Device, dst []E, src Tensor) error {
	checkHost(src, len(dst), int(unsafe.Sizeof(*new(E))))
	if len(dst) == 0 {
		return d.Sync()
	}
	return Fetch(d, dst, src).Wait()
}

// Fetch queues a copy of the dense tensor src into dst. dst must not be touched until the ticket's Wait returns.
func Fetch[E Elem](d Device, dst []E, src Tensor) Ticket {
	checkHost(src, len(dst), int(unsafe.Sizeof(*new(E))))
	if len(dst) == 0 {
		return done{}
	}
	return d.Fetch(unsafe.Slice((*byte)(unsafe.Pointer(&dst[0])), len(dst)*int(unsafe.Sizeof(dst[0]))), src)
}

// done is the ticket of a finished copy.
type done struct{}

func (done) Wait() error { return nil }

// Done returns a finished ticket, for devices whose work has finished when a call returns.
func Done() Ticket { return done{} }

func checkHost(t Tensor, n, size int) {
	if n != t.Len() || size != t.Type.Size() || !t.Dense() {
		panic(fmt.Sprintf("kernels: host slice of %d elements of %d bytes for %v", n, size, t))
	}
}

// NewTensor allocates a buffer with a zeroed dense tensor.
func NewTensor(d Device, t DType, rows, cols int) (Tensor, error) {
	b, err := d.Alloc(int64(rows) * int64(cols) * int64(t.Size()))
	if err != nil {
		return Tensor{}, err
	}
	return Mat(b, t, 0, rows, cols), nil
}
