package kerneltest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"testing"
	"unsafe"

	"github.com/zerosearch-go/zerosearch/kernels"
)

// layout is how tensors lie in their buffers: off elements of canary before, gap between rows, tail behind.
type layout struct {
	name           string
	off, gap, tail int
}

// layouts: a buffer of exactly the tensor; a start that is aligned to nothing but the element; columns of a wider
// matrix.
var layouts = []layout{{"dense", 0, 0, 0}, {"unaligned", 5, 0, 67}, {"columns", 3, 9, 40}}

// canary fills what no operation may write, and what nothing that is read may depend on: it is NaN in F32 and in BF16,
// and no valid id.
var canary = []byte{0xe5, 0x7f, 0xe5, 0x7f}

// caseRun is one run of a case on one device.
type caseRun struct {
	t      testing.TB
	d      kernels.Device
	layout layout
	held   []*held
	frees  []func()
}

// held is a tensor with the bytes that its whole buffer had before the case.
type held struct {
	name   string
	tensor kernels.Tensor
	image  []byte
	out    bool
	bound  bound
}

// output is the content of one tensor after a case.
type output struct {
	name       string
	rows, cols int
	dtype      kernels.DType
	data       []byte // row-major
	bound      bound
}

// execute runs body on d and returns its outputs, after checking that nothing else was written.
func execute(t testing.TB, d kernels.Device, l layout, body func(s *caseRun)) []output {
	t.Helper()
	s := &caseRun{t: t, d: d, layout: l}
	defer func() {
		for _, f := range s.frees {
			f()
		}
	}()
	body(s)
	if err := d.Sync(); err != nil {
		t.Fatalf("Sync: %v", err)
	}
	var outs []output
	for _, h := range s.held {
		if o := s.check(h); h.out {
			outs = append(outs, o)
		}
	}
	return outs
}

// check compares the buffer of h with its image, and returns the elements.
func (s *caseRun) check(h *held) output {
	now := make([]byte, len(h.image))
	if err := kernels.Download(s.d, now, kernels.Mat(h.tensor.Buf, kernels.U8, 0, 1, len(now))); err != nil {
		s.t.Fatalf("%s: Download: %v", h.name, err)
	}
	t, size := h.tensor, h.tensor.Type.Size()
	o := output{name: h.name, rows: t.Rows, cols: t.Cols, dtype: t.Type, bound: h.bound}
	at := 0
	for r := range t.Rows {
		from := (t.Off + r*t.Stride) * size
		s.intact(h, now, at, from)
		at = from + t.Cols*size
		o.data = append(o.data, now[from:at]...)
		if !h.out {
			s.unchanged(h, now, from, at)
		}
	}
	s.intact(h, now, at, len(now))
	return o
}

func (s *caseRun) intact(h *held, now []byte, from, to int) {
	if !bytes.Equal(now[from:to], h.image[from:to]) {
		s.t.Fatalf("%s on %s, layout %s: bytes [%d, %d) of the buffer of %s were written\nrule: an operation writes "+
			"the elements of its outputs and nothing between or around them",
			h.name, s.d.Name(), s.layout.name, from, to, h.tensor)
	}
}

func (s *caseRun) unchanged(h *held, now []byte, from, to int) {
	if !bytes.Equal(now[from:to], h.image[from:to]) {
		s.t.Fatalf("%s on %s, layout %s, %s: bytes [%d, %d) were changed\nrule: inputs are only read", h.name,
			s.d.Name(), s.layout.name, h.tensor, from, to)
	}
}

// put allocates a tensor in the layout of s, filled with data (row-major) or with canaries, and remembers it for the
// check.
func (s *caseRun) put(name string, dt kernels.DType, rows, cols int, l layout, data []byte, out bool,
	b bound) kernels.Tensor {
	s.t.Helper()
	size, stride := dt.Size(), cols+l.gap
	total := l.off + l.tail + max(0, rows-1)*stride
	if rows > 0 {
		total += cols
	}
	image := bytes.Repeat(canary, (total*size+3)/4)[:total*size]
	for r := range rows {
		if data != nil {
			copy(image[(l.off+r*stride)*size:], data[r*cols*size:][:cols*size])
		}
	}
	buf, err := s.d.Alloc(int64(len(image)))
	if err != nil {
		s.t.Fatalf("Alloc(%d): %v", len(image), err)
	}
	s.frees = append(s.frees, buf.Free)
	kernels.Upload(s.d, kernels.Mat(buf, kernels.U8, 0, 1, len(image)), image)
	t := kernels.Tensor{Buf: buf, Off: l.off, Rows: rows, Cols: cols, Stride: stride, Type: dt}
	s.held = append(s.held, &held{name, t, image, out, b})
	return t
}

// in is an F32 input.
func (s *caseRun) in(name string, rows, cols int, data []float32) kernels.Tensor {
	return s.put(name, kernels.F32, rows, cols, s.layout, raw(data), false, bound{})
}

// out is an F32 output that is overwritten: it starts as canaries.
func (s *caseRun) out(name string, rows, cols int, b bound) kernels.Tensor {
	return s.put(name, kernels.F32, rows, cols, s.layout, nil, true, b)
}

// inout is an F32 output that starts as data.
func (s *caseRun) inout(name string, rows, cols int, data []float32, b bound) kernels.Tensor {
	return s.put(name, kernels.F32, rows, cols, s.layout, raw(data), true, b)
}

// packed is the layout for tensors that must be dense.
func (s *caseRun) packed() layout {
	l := s.layout
	l.gap = 0
	return l
}

// vec is a dense F32 input, vecOut a dense F32 output, starting as data or canaries.
func (s *caseRun) vec(name string, rows, cols int, data []float32) kernels.Tensor {
	return s.put(name, kernels.F32, rows, cols, s.packed(), raw(data), false, bound{})
}

func (s *caseRun) vecOut(name string, rows, cols int, data []float32, b bound) kernels.Tensor {
	return s.put(name, kernels.F32, rows, cols, s.packed(), raw(data), true, b)
}

// ints is an I32 input [n, 1].
func (s *caseRun) ints(name string, data []int32) kernels.Tensor {
	return s.put(name, kernels.I32, len(data), 1, s.packed(), raw(data), false, bound{})
}

// group packs random weights [n, k], one for each n, that a device may hold as one matrix.
func (s *caseRun) group(k int, dt kernels.DType, n ...int) []kernels.Weight {
	s.t.Helper()
	ws, err := kernels.NewWeights(s.d, k, dt, n...)
	if err != nil {
		s.t.Fatalf("NewWeights(%d, %v, %v): %v", k, dt, n, err)
	}
	for i, w := range ws {
		s.frees = append(s.frees, w.Free)
		s.fill(w, normal(fmt.Sprint("group", i), n[i]*k, 1))
	}
	return ws
}

// weight packs data [n, k], rounded to dt.
func (s *caseRun) weight(n, k int, dt kernels.DType, data []float32) kernels.Weight {
	s.t.Helper()
	w, err := s.d.NewWeight(n, k, dt)
	if err != nil {
		s.t.Fatalf("NewWeight(%d, %d, %v): %v", n, k, dt, err)
	}
	s.frees = append(s.frees, w.Free)
	s.fill(w, data)
	return w
}

// fill packs data as w. Q4 is given as rows that are already quantised, since its search for steps takes longer than
// any product of a case: testWeights and the special weights are what compares the packing of a device.
func (s *caseRun) fill(w kernels.Weight, data []float32) {
	if _, k := w.Shape(); w.Type() == kernels.Q4 {
		s.d.PackHost(w, 0, rowsQ4(data, k), kernels.Q4)
		return
	}
	s.d.PackHost(w, 0, raw(data), kernels.F32)
}

// cache allocates KV pages.
func (s *caseRun) cache(spec kernels.KVSpec) kernels.KV {
	s.t.Helper()
	kv, err := s.d.NewKV(spec)
	if err != nil {
		s.t.Fatalf("NewKV(%+v): %v", spec, err)
	}
	s.frees = append(s.frees, kv.Free)
	return kv
}

// raw is the bytes of a slice; nil of nil.
func raw[E kernels.Elem](x []E) []byte {
	if len(x) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(&x[0])), len(x)*int(unsafe.Sizeof(x[0])))
}

// f32 is the elements of an F32 output.
func (o output) f32() []float32 {
	x := make([]float32, len(o.data)/4)
	for i := range x {
		x[i] = math.Float32frombits(binary.LittleEndian.Uint32(o.data[4*i:]))
	}
	return x
}

// i32 is the elements of an I32 output.
func (o output) i32() []int32 {
	x := make([]int32, len(o.data)/4)
	for i := range x {
		x[i] = int32(binary.LittleEndian.Uint32(o.data[4*i:]))
	}
	return x
}

// value is element i, of any type.
func (o output) value(i int) float64 {
	switch at := o.data[i*o.dtype.Size():]; o.dtype {
	default:
		return float64(at[0])
	case kernels.F32:
		return float64(math.Float32frombits(binary.LittleEndian.Uint32(at)))
	case kernels.BF16:
		return float64(math.Float32frombits(uint32(binary.LittleEndian.Uint16(at)) << 16))
	case kernels.F64:
		return math.Float64frombits(binary.LittleEndian.Uint64(at))
	case kernels.I32:
		return float64(int32(binary.LittleEndian.Uint32(at)))
	}
}
