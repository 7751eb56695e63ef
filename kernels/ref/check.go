package ref

import (
	"fmt"
	"unsafe"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/num"
)

// call is one call of the device: it checks the arguments and names the operation in every panic.
type call struct {
	d  *device
	op string
}

// begin also notices a second goroutine inside the device.
func (d *device) begin(op string) call {
	c := call{d, op}
	if !d.busy.CompareAndSwap(false, true) {
		c.fail("called while another goroutine is using the device")
	}
	return c
}

func (c call) end() { c.d.busy.Store(false) }

func (c call) fail(format string, args ...any) {
	panic("ref: " + c.op + ": " + fmt.Sprintf(format, args...))
}

// within panics unless rows [row0, row0+n) are rows of w.
func (c call) within(w *weight, row0, n int) {
	if row0 < 0 || row0+n > w.n {
		c.fail("rows [%d, %d) of %v[%d, %d]", row0, row0+n, w.t, w.n, w.k)
	}
}

// alive panics unless o belongs to this device and has not been freed.
func (c call) alive(what string, o *owned) {
	if o.d != c.d {
		c.fail("%s belongs to another device", what)
	}
	if o.freed {
		c.fail("%s, allocated at %s, is used after Free", what, o.site)
	}
}

// place panics unless t lies within a live buffer of this device.
func (c call) place(what string, t kernels.Tensor) {
	if t.IsZero() {
		c.fail("%s is none", what)
	}
	b, ok := t.Buf.(*buffer)
	if !ok {
		c.fail("%s lies in a %T of another device", what, t.Buf)
	}
	c.alive(what, &b.owned)
	if t.Type.Size() == 0 || t.Rows < 0 || t.Cols < 0 || t.Off < 0 || t.Rows > 1 && t.Stride < t.Cols {
		c.fail("%s is %v at element %d", what, t, t.Off)
	}
	if t.Len() == 0 {
		return
	}
	if last := int64(t.Off) + int64(t.Rows-1)*int64(t.Stride) + int64(t.Cols); last*int64(t.Type.Size()) > b.bytes {
		c.fail("%s is %v at element %d, beyond its buffer of %d bytes allocated at %s", what, t, t.Off, b.bytes, b.site)
	}
}

// mat is a checked tensor; row(r) is its row r.
type mat[E any] struct {
	data         []E
	rows, stride int
	cols         int
}

func (m mat[E]) row(r int) []E { return m.data[r*m.stride:][:m.cols] }

// view checks that t is [rows, cols] of type dt, where -1 stands for any number.
func view[E any](c call, what string, t kernels.Tensor, dt kernels.DType, rows, cols int) mat[E] {
	c.place(what, t)
	if t.Type != dt || rows >= 0 && t.Rows != rows || cols >= 0 && t.Cols != cols {
		c.fail("%s is %v, want %v[%s, %s]", what, t, dt, dim(rows), dim(cols))
	}
	m := mat[E]{rows: t.Rows, cols: t.Cols, stride: t.Stride}
	if t.Len() > 0 {
		p := (*E)(unsafe.Pointer(unsafe.SliceData(t.Buf.(*buffer).words)))
		m.data = unsafe.Slice(p, t.Off+(t.Rows-1)*t.Stride+t.Cols)[t.Off:]
	}
	return m
}

func dim(n int) string {
	if n < 0 {
		return "any"
	}
	return fmt.Sprint(n)
}

func (c call) f32(what string, t kernels.Tensor, rows, cols int) mat[float32] {
	return view[float32](c, what, t, kernels.F32, rows, cols)
}

// operand returns an operand of a matmul: F32, or a widened copy of BF16.
func (c call) operand(what string, t kernels.Tensor, rows, cols int) mat[float32] {
	if t.Type != kernels.BF16 {
		return c.f32(what, t, rows, cols)
	}
	half := view[uint16](c, what, t, kernels.BF16, rows, cols)
	m := mat[float32]{data: make([]float32, half.rows*half.cols), rows: half.rows, stride: half.cols, cols: half.cols}
	for r := range half.rows {
		num.WidenBF16(m.row(r), half.row(r))
	}
	return m
}

// result returns where to write an activation: the F32 tensor, or a copy that store rounds to BF16.
func (c call) result(what string, t kernels.Tensor, rows, cols int) (m mat[float32], store func()) {
	if t.Type != kernels.BF16 {
		return c.f32(what, t, rows, cols), func() {}
	}
	half := view[uint16](c, what, t, kernels.BF16, rows, cols)
	m = mat[float32]{data: make([]float32, half.rows*half.cols), rows: half.rows, stride: half.cols, cols: half.cols}
	return m, func() {
		for r := range half.rows {
			num.BF16Slice(half.row(r), m.row(r))
		}
	}
}

// vector checks that t is a dense [rows, cols] F32 tensor, one of the two being 1, and returns its elements. None is
// nil if optional.
func (c call) vector(what string, t kernels.Tensor, rows, cols int, optional bool) []float32 {
	if optional && t.IsZero() {
		return nil
	}
	m := c.f32(what, t, rows, cols)
	if !t.Dense() {
		c.fail("%s is %v: vectors have stride 1", what, t)
	}
	return m.data
}

// ints checks that t is a dense I32 tensor [rows, 1] of numbers in [0, limit) and returns them. limit < 0: they are
// written, not read.
func (c call) ints(what string, t kernels.Tensor, rows, limit int) []int32 {
	v := view[int32](c, what, t, kernels.I32, rows, 1).data
	if !t.Dense() {
		c.fail("%s is %v: vectors have stride 1", what, t)
	}
	for r, x := range v {
		if limit >= 0 && (x < 0 || int(x) >= limit) {
			c.fail("%s[%d] = %d of %d", what, r, x, limit)
		}
	}
	return v
}

// apart panics if out shares an element with one of ins.
func (c call) apart(what string, out kernels.Tensor, ins ...kernels.Tensor) {
	for _, in := range ins {
		if overlap(out, in) {
			c.fail("%s, %v at element %d, overlaps %v at element %d of the same buffer", what, out, out.Off, in, in.Off)
		}
	}
}

// same reports whether the two tensors are exactly the same elements.
func same(a, b kernels.Tensor) bool {
	return a.Buf == b.Buf && a.Off == b.Off && a.Rows == b.Rows && a.Cols == b.Cols &&
		(a.Stride == b.Stride || a.Rows <= 1)
}

// overlap walks the rows of both tensors, which ascend in memory, like a merge.
func overlap(a, b kernels.Tensor) bool {
	if a.IsZero() || b.IsZero() || a.Buf != b.Buf || a.Len() == 0 || b.Len() == 0 {
		return false
	}
	span := func(t kernels.Tensor, r int) (from, to int) {
		from = (t.Off + r*t.Stride) * t.Type.Size()
		return from, from + t.Cols*t.Type.Size()
	}
	for i, j := 0, 0; i < a.Rows && j < b.Rows; {
		af, at := span(a, i)
		bf, bt := span(b, j)
		switch {
		case at <= bf:
			i++
		case bt <= af:
			j++
		default:
			return true
		}
	}
	return false
}
