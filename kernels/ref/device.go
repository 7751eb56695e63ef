package ref

import (
	"fmt"
	"runtime"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/zerosearch-go/zerosearch/kernels"
)

// device runs every operation at once: nothing is queued, so nothing fails after its call.
type device struct {
	narrow bool                                                       // Operand(BF16) is BF16
	sum    func(t kernels.DType, acc float32, a, b []float32) float32 // of the matmuls

	busy atomic.Bool
	mu   sync.Mutex
	live map[any]string // everything that is allocated and not freed, with the caller's file and line
}

var _ kernels.Device = (*device)(nil)

// New opens a reference device.
func New() kernels.Device { return &device{sum: chain, live: map[any]string{}} }

// NewAMX opens a reference device whose BF16 matmuls sum as processors with AMX do: see num.DotAMX. Its attention
// follows the chain.
func NewAMX() kernels.Device { return &device{sum: chainAMX, live: map[any]string{}} }

// NewNarrow opens a reference device that reads the operands of BF16 matmuls in BF16, as GPUs do. It gives the same
// bits.
func NewNarrow() kernels.Device { return &device{narrow: true, sum: chain, live: map[any]string{}} }

// Live is the number of buffers, weights and caches of d, a device of this package, that have not been freed.
func Live(d kernels.Device) int {
	r := d.(*device)
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.live)
}

func (d *device) Name() string { return "ref" }

func (d *device) Sync() error { return nil }

func (d *device) Operand(t kernels.DType) kernels.DType {
	if d.narrow && t == kernels.BF16 {
		return kernels.BF16
	}
	return kernels.F32
}

func (d *device) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.live) == 0 {
		return nil
	}
	var where []string
	for x, site := range d.live {
		where = append(where, fmt.Sprintf("%s of %s", strings.TrimPrefix(fmt.Sprintf("%T", x), "*ref."), site))
	}
	sort.Strings(where)
	return fmt.Errorf("ref: close: %d not freed: %s", len(where), strings.Join(where, ", "))
}

// owned records the lifetime of an object that a device allocated.
type owned struct {
	d     *device
	site  string
	freed bool
}

// own registers x as allocated by the caller of the device.
func (d *device) own(x any, o *owned) {
	o.d, o.site = d, caller()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.live[x] = o.site
}

func (d *device) disown(x any, o *owned) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if o.freed {
		panic(fmt.Sprintf("ref: second Free of the %T of %s", x, o.site))
	}
	o.freed = true
	delete(d.live, x)
}

// caller is the nearest file and line outside the packages kernels and ref.
func caller() string {
	pc := make([]uintptr, 16)
	frames := runtime.CallersFrames(pc[:runtime.Callers(3, pc)])
	for {
		f, more := frames.Next()
		if !strings.Contains(f.Function, "/kernels/ref.") && !strings.Contains(f.Function, "/kernels.") || !more {
			return fmt.Sprintf("%s:%d", f.File[strings.LastIndexByte(f.File, '/')+1:], f.Line)
		}
	}
}

// buffer is memory of a device. It is a slice of 64-bit words, so that it is aligned for every element type.
type buffer struct {
	owned
	bytes int64
	words []uint64
}

func (d *device) Alloc(bytes int64) (kernels.Buffer, error) {
	if bytes < 0 {
		panic(fmt.Sprintf("ref: Alloc(%d)", bytes))
	}
	b := &buffer{bytes: bytes, words: make([]uint64, (bytes+7)/8)}
	d.own(b, &b.owned)
	return b, nil
}

func (b *buffer) Bytes() int64 { return b.bytes }

func (b *buffer) Free() {
	b.d.disown(b, &b.owned)
	b.words = nil
}

// raw is the bytes of a dense, checked tensor.
func raw(t kernels.Tensor) []byte {
	b := t.Buf.(*buffer)
	if t.Len() == 0 {
		return nil
	}
	p := (*byte)(unsafe.Pointer(unsafe.SliceData(b.words)))
	return unsafe.Slice(p, b.bytes)[t.Off*t.Type.Size():][:t.Len()*t.Type.Size()]
}

func (d *device) Upload(dst kernels.Tensor, src []byte) {
	c := d.begin("Upload")
	defer c.end()
	c.transfer(dst, len(src))
	copy(raw(dst), src)
}

func (d *device) Fetch(dst []byte, src kernels.Tensor) kernels.Ticket {
	c := d.begin("Fetch")
	defer c.end()
	c.transfer(src, len(dst))
	copy(dst, raw(src))
	return kernels.Done()
}

// transfer checks that the dense tensor t has n bytes.
func (c call) transfer(t kernels.Tensor, n int) {
	c.place("tensor", t)
	if !t.Dense() || t.Len()*t.Type.Size() != n {
		c.fail("%v and %d bytes of the host", t, n)
	}
}
