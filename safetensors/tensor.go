package safetensors

import (
	"encoding/binary"
	"fmt"
	"math"
	"runtime/debug"
	"slices"
	"unsafe"

	"github.com/zerosearch-go/zerosearch/num"
)

// Tensor is one tensor of an open file. Its elements lie row-major, little-endian. Treat the fields as read-only.
type Tensor struct {
	Name  string
	DType DType
	Shape []int // empty for a scalar

	file *File
	data []byte
}

// Elements is the number of elements: the product of Shape, 1 for a scalar.
func (t *Tensor) Elements() int {
	return len(t.data) * 8 / t.DType.Bits()
}

// Bytes returns the stored bytes as a view of the mapped file: valid until the file is closed, not to be written to. It
// is nil after that. Another program that cuts the file short meanwhile makes touching the view fatal: see
// [Tensor.View].
func (t *Tensor) Bytes() []byte {
	if t.file.data == nil {
		return nil
	}
	return t.data
}

// View calls f with the tensor's bytes and returns its error. A page that cannot be read while f runs (the file was cut
// short, the disk failed) becomes an error too, as long as it is f's own goroutine that touches it.
func (t *Tensor) View(f func(data []byte) error) (err error) {
	if t.file.data == nil {
		return t.errorf("the file is closed")
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		switch fault := recover().(type) {
		case nil:
		case interface{ Addr() uintptr }: // what the runtime throws for a bad page, and for nothing else
			err = t.errorf("cannot be read: the file was changed or its disk failed while it was in use")
		default:
			panic(fault)
		}
	}()
	return f(t.data)
}

// Float32View returns the elements of an F32 tensor without copying them, or false where that cannot be: another type,
// data that is not aligned to 4 bytes, a big-endian machine, a closed file. What Bytes says of its view holds here too.
func (t *Tensor) Float32View() ([]float32, bool) {
	if t.DType != F32 {
		return nil, false
	}
	return view[float32](t.Bytes())
}

// Uint16View is Float32View for the bits of the 16-bit types: BF16, F16, I16 and U16.
func (t *Tensor) Uint16View() ([]uint16, bool) {
	if t.DType.Bits() != 16 {
		return nil, false
	}
	return view[uint16](t.Bytes())
}

// Float32 converts all elements into dst [Elements()], exactly except for F64, which is rounded to nearest. Every
// floating-point type works but F4 and F6; integers do not.
func (t *Tensor) Float32(dst []float32) error { return t.floats(dst, 0, t.Elements()) }

// Float32Rows converts rows row0 to row0+rows of a tensor, counted along its first dimension, into dst: Float32 piece
// by piece.
func (t *Tensor) Float32Rows(dst []float32, row0, rows int) error {
	if len(t.Shape) == 0 || row0 < 0 || rows < 0 || row0 > t.Shape[0] || rows > t.Shape[0]-row0 {
		return t.errorf("shape %v has no %d rows from row %d on", t.Shape, rows, row0)
	}
	if t.Shape[0] == 0 {
		return t.floats(dst, 0, 0)
	}
	width := t.Elements() / t.Shape[0]
	return t.floats(dst, row0*width, rows*width)
}

// floats converts n elements from the one numbered first on.
func (t *Tensor) floats(dst []float32, first, n int) error {
	if len(dst) != n {
		return t.errorf("%d elements of shape %v do not fit a destination of %d", n, t.Shape, len(dst))
	}
	convert := toFloat32[t.DType]
	if convert == nil {
		return t.errorf("%s cannot be converted to float32", t.DType)
	}
	size := t.DType.Bits() / 8
	return t.View(func(data []byte) error {
		convert(dst, data[first*size:(first+n)*size])
		return nil
	})
}

// toFloat32 converts the bytes of len(dst) elements.
var toFloat32 = map[DType]func(dst []float32, b []byte){
	F32: func(dst []float32, b []byte) {
		if v, ok := view[float32](b); ok {
			copy(dst, v)
			return
		}
		pieces(b, func(at int, part []uint32) {
			for i, x := range part {
				dst[at+i] = math.Float32frombits(x)
			}
		})
	},
	F64: func(dst []float32, b []byte) {
		pieces(b, func(at int, part []uint64) {
			for i, x := range part {
				dst[at+i] = float32(math.Float64frombits(x))
			}
		})
	},
	BF16: func(dst []float32, b []byte) {
		pieces(b, func(at int, p []uint16) { num.WidenBF16(dst[at:at+len(p)], p) })
	},
	F16: func(dst []float32, b []byte) {
		pieces(b, func(at int, p []uint16) { num.WidenF16(dst[at:at+len(p)], p) })
	},
	F8E4M3:     num.WidenE4M3,
	F8E5M2:     num.WidenE5M2,
	F8E8M0:     num.WidenE8M0,
	F8E4M3FNUZ: num.WidenE4M3FNUZ,
	F8E5M2FNUZ: num.WidenE5M2FNUZ,
}

// Int64 converts all elements of an integer or BOOL tensor into dst [Elements()]; a value beyond int64 is an error.
func (t *Tensor) Int64(dst []int64) error { return integers(t, dst, math.MinInt64, math.MaxInt64) }

// Int32 converts all elements of an integer or BOOL tensor into dst [Elements()]; a value beyond int32 is an error.
func (t *Tensor) Int32(dst []int32) error { return integers(t, dst, math.MinInt32, math.MaxInt32) }

func integers[T int32 | int64](t *Tensor, dst []T, least, most int64) error {
	if len(dst) != t.Elements() {
		return t.errorf("%d elements of shape %v do not fit a destination of %d", t.Elements(), t.Shape, len(dst))
	}
	at := integerAt[t.DType]
	if at == nil {
		return t.errorf("%s is not a type of integers", t.DType)
	}
	return t.View(func(data []byte) error {
		for i := range dst {
			x := at(data, i)
			if x < least || x > most || x < 0 && t.DType == U64 {
				return t.errorf("element %d does not fit %T", i, dst[i])
			}
			dst[i] = T(x)
		}
		return nil
	})
}

// integerAt reads element i; a U64 beyond int64 comes out negative.
var integerAt = map[DType]func(b []byte, i int) int64{
	Bool: func(b []byte, i int) int64 { return int64(min(b[i], 1)) },
	U8:   func(b []byte, i int) int64 { return int64(b[i]) },
	I8:   func(b []byte, i int) int64 { return int64(int8(b[i])) },
	U16:  func(b []byte, i int) int64 { return int64(binary.LittleEndian.Uint16(b[2*i:])) },
	I16:  func(b []byte, i int) int64 { return int64(int16(binary.LittleEndian.Uint16(b[2*i:]))) },
	U32:  func(b []byte, i int) int64 { return int64(binary.LittleEndian.Uint32(b[4*i:])) },
	I32:  func(b []byte, i int) int64 { return int64(int32(binary.LittleEndian.Uint32(b[4*i:]))) },
	U64:  func(b []byte, i int) int64 { return int64(binary.LittleEndian.Uint64(b[8*i:])) },
	I64:  func(b []byte, i int) int64 { return int64(binary.LittleEndian.Uint64(b[8*i:])) },
}

// Release tells the system that the tensor's pages are not needed for now, so that a checkpoint that is converted
// tensor by tensor never occupies memory as a whole. It is a hint: the bytes stay valid and are read again when
// touched.
func (t *Tensor) Release() {
	if t.file.data != nil && t.file.mapped && len(t.data) > 0 {
		release(t.file.data, t.data)
	}
}

func (t *Tensor) errorf(format string, args ...any) error {
	return fmt.Errorf("safetensors: %s: tensor %s: %s", t.file.path, quote(t.Name), fmt.Sprintf(format, args...))
}

// littleEndian says whether numbers lie in memory as they lie in a file.
var littleEndian = binary.NativeEndian.Uint16([]byte{1, 0}) == 1

// view reinterprets b as elements of type T where alignment and byte order allow it.
func view[T uint16 | uint32 | uint64 | float32](b []byte) ([]T, bool) {
	var zero T
	size := unsafe.Sizeof(zero)
	p := unsafe.Pointer(unsafe.SliceData(b))
	if b == nil || !littleEndian || uintptr(p)%size != 0 {
		return nil, false
	}
	return unsafe.Slice((*T)(p), uintptr(len(b))/size), true
}

// pieces calls f with the elements of b, at being the number of the first: all at once where a view is possible,
// otherwise copied into a buffer piece by piece.
func pieces[T uint16 | uint32 | uint64](b []byte, f func(at int, part []T)) {
	if v, ok := view[T](b); ok {
		f(0, v)
		return
	}
	var buffer [512]T
	size := int(unsafe.Sizeof(buffer[0]))
	raw := unsafe.Slice((*byte)(unsafe.Pointer(&buffer)), unsafe.Sizeof(buffer))
	for at := 0; at*size < len(b); at += len(buffer) {
		n := copy(raw, b[at*size:])
		if !littleEndian {
			for i := 0; i < n; i += size {
				slices.Reverse(raw[i : i+size])
			}
		}
		f(at, buffer[:n/size])
	}
}
