//go:build !nogpu && (linux || windows)

package driver

import (
	"fmt"
	"math"
	"sync/atomic"
	"unsafe"

	"github.com/ebitengine/purego"

	"github.com/zerosearch-go/zerosearch/internal/foreign"
	"github.com/zerosearch-go/zerosearch/kernels/cuda/internal/gpu"
)

// GPU is one GPU with a stream.
//
// A call needs the GPU's context to be current on its thread. Rare calls make it current each time. The frequent calls
// of a pass do so only if the driver reports that another context, or none, was current; the caller therefore should
// use a device from one thread.
type GPU struct {
	t       *table
	info    Info
	dev     int32
	ctx     uintptr
	stream  uintptr
	pool    uintptr
	modules []uintptr
	up      staging
	down    staging
	err     atomic.Pointer[error] // the error of the first call that failed; all later calls return it

	// The memory that a launch points to. It is allocated once, so that its address does not change.
	extra [5]uintptr
	size  uintptr
	args  [11]uintptr
}

var _ gpu.GPU = (*GPU)(nil)

// GPU opens GPU i.
func (d *Driver) GPU(i int) (*GPU, error) {
	all, err := d.List()
	if err != nil {
		return nil, err
	}
	if i < 0 || i >= len(all) {
		return nil, fmt.Errorf("there is no GPU %d: there are %d", i, len(all))
	}
	if why := all[i].Usable(); why != "" {
		return nil, fmt.Errorf("GPU %d, %s: %s", i, all[i].Name, why)
	}
	g := &GPU{t: d.t}
	g.dev, g.info, err = d.info(i)
	if err != nil {
		return nil, err
	}
	if err := g.open(); err != nil {
		g.Close()
		return nil, fmt.Errorf("GPU %d, %s: %w", i, g.info.Name, err)
	}
	return g, nil
}

// Attributes of a memory pool: CUmemPool_attribute.
const (
	poolRelease  = 4 // bytes that the pool keeps at a synchronisation
	poolReserved = 5
	poolUsed     = 7
)

func (g *GPU) open() error {
	defer keepSignals()()
	t := g.t
	var ctx uintptr
	if err := t.check(call(t.DevicePrimaryCtxRetain, uintptr(unsafe.Pointer(&ctx)), uintptr(g.dev)),
		"opening it"); err != nil {
		return err
	}
	g.ctx = ctx
	defer t.current(g.ctx)()
	const nonBlocking = 1
	if err := t.check(call(t.StreamCreate, uintptr(unsafe.Pointer(&g.stream)), nonBlocking),
		"making a stream"); err != nil {
		return err
	}
	if err := t.check(call(t.DeviceGetDefaultMemPool, uintptr(unsafe.Pointer(&g.pool)), uintptr(g.dev)),
		"asking for its memory pool"); err != nil {
		return err
	}
	all := word(math.MaxUint64)
	return t.check(call(t.MemPoolSetAttribute, g.pool, poolRelease, uintptr(unsafe.Pointer(all))),
		"setting up its memory pool")
}

// Props returns the properties of the GPU.
func (g *GPU) Props() gpu.Props {
	x := g.info
	return gpu.Props{Name: x.Name, Major: x.Major, Minor: x.Minor, SMs: x.SMs, Shared: x.shared, Memory: x.Memory}
}

// Alloc allocates memory from the pool, in the order of the stream.
func (g *GPU) Alloc(bytes int64) (gpu.Ptr, error) {
	defer g.t.current(g.ctx)()
	var p gpu.Ptr
	err := g.t.check(call(g.t.MemAllocAsync, uintptr(unsafe.Pointer(&p)), uintptr(bytes), g.stream),
		"allocating %d bytes", bytes)
	return p, err
}

// Free returns memory to the pool, in the order of the stream.
func (g *GPU) Free(p gpu.Ptr) error {
	defer g.t.current(g.ctx)()
	return g.t.check(call(g.t.MemFreeAsync, uintptr(p), g.stream), "freeing memory")
}

// Available returns the bytes that could be allocated: the free memory of the GPU, and what the pool holds unused.
func (g *GPU) Available() (int64, error) {
	defer g.t.current(g.ctx)()
	var free, total, reserved, used uint64
	if err := g.t.check(call(g.t.MemGetInfo, uintptr(unsafe.Pointer(&free)), uintptr(unsafe.Pointer(&total))),
		"asking for free memory"); err != nil {
		return 0, err
	}
	call(g.t.MemPoolGetAttribute, g.pool, poolReserved, uintptr(unsafe.Pointer(&reserved)))
	call(g.t.MemPoolGetAttribute, g.pool, poolUsed, uintptr(unsafe.Pointer(&used)))
	return int64(free + reserved - used), nil
}

// hot is call without allocating on the Go heap. If the thread had another context, it makes that of g current and
// calls again. Pointers among the arguments must point to memory that g holds.
func (g *GPU) hot(fn uintptr, args ...uintptr) status {
	s := g.once(fn, args)
	if s == invalidContext || s == invalidHandle {
		defer g.t.current(g.ctx)()
		s = g.once(fn, args)
	}
	return s
}

func (g *GPU) once(fn uintptr, args []uintptr) status {
	n := copy(g.args[:], args)
	r, _, _ := purego.SyscallN(fn, g.args[:n]...)
	return status(uint32(r))
}

// note stores the first error and returns it. Any goroutine may call it, because any may wait for an event.
func (g *GPU) note(err error) error {
	if err != nil {
		g.err.CompareAndSwap(nil, &err)
	}
	return g.failed()
}

// failed returns the first error, or nil.
func (g *GPU) failed() error {
	if p := g.err.Load(); p != nil {
		return *p
	}
	return nil
}

// Copy queues a copy within the GPU.
func (g *GPU) Copy(dst, src gpu.Ptr, bytes int64) error {
	s := g.hot(g.t.MemcpyDtoD, uintptr(dst), uintptr(src), uintptr(bytes), g.stream)
	if s != success {
		g.note(g.t.check(s, "copying %d bytes", bytes))
	}
	return g.failed()
}

// Zero queues setting memory to zero.
func (g *GPU) Zero(dst gpu.Ptr, bytes int64) error {
	s := g.hot(g.t.MemsetD8, uintptr(dst), 0, uintptr(bytes), g.stream)
	if s != success {
		g.note(g.t.check(s, "clearing %d bytes", bytes))
	}
	return g.failed()
}

// dynamicShared is CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES.
const dynamicShared = 8

// staticLimit is the largest static shared memory of our kernels; a launch adds dynamic shared memory.
const staticLimit = 48 << 10

// Load compiles ptx for this GPU; the driver keeps the result in the user's cache (~/.nv).
func (g *GPU) Load(ptx string, names []string) ([]gpu.Func, error) {
	defer g.t.current(g.ctx)()
	var module uintptr
	src := append([]byte(ptx), 0)
	// CU_JIT_ERROR_LOG_BUFFER and its size.
	log := make([]byte, 8192)
	options := [2]int32{5, 6}
	values := [2]uintptr{uintptr(unsafe.Pointer(&log[0])), uintptr(len(log))}
	s := call(g.t.ModuleLoadDataEx, uintptr(unsafe.Pointer(&module)), uintptr(unsafe.Pointer(&src[0])), 2,
		uintptr(unsafe.Pointer(&options)),
		uintptr(unsafe.Pointer(&values)))
	if err := g.t.check(s, "compiling"); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, foreign.Text(&log[0]))
	}
	g.modules = append(g.modules, module)
	var fs []gpu.Func
	for _, n := range names {
		var f uintptr
		name := append([]byte(n), 0)
		if err := g.t.check(call(g.t.ModuleGetFunction, uintptr(unsafe.Pointer(&f)), module,
			uintptr(unsafe.Pointer(&name[0]))), "finding kernel %s", n); err != nil {
			return nil, err
		}
		fs = append(fs, gpu.Func(f))
		if g.info.shared > staticLimit {
			// the driver refuses this for kernels with static shared memory, which need no dynamic memory
			call(g.t.FuncSetAttribute, f, dynamicShared, uintptr(g.info.shared-1024))
		}
	}
	return fs, nil
}

// Launch passes the parameters as one block of memory (CU_LAUNCH_PARAM_BUFFER_POINTER and _SIZE).
func (g *GPU) Launch(f gpu.Func, n gpu.Grid, a *gpu.Args) error {
	block := a.Bytes()
	g.size = uintptr(len(block))
	g.extra = [5]uintptr{1, uintptr(unsafe.Pointer(unsafe.SliceData(block))), 2, uintptr(unsafe.Pointer(&g.size)), 0}
	s := g.hot(g.t.LaunchKernel, uintptr(f), uintptr(n.X), uintptr(n.Y), uintptr(n.Z), uintptr(n.Threads), 1, 1,
		uintptr(n.Dynamic), g.stream, 0,
		uintptr(unsafe.Pointer(&g.extra)))
	if s != success {
		g.note(g.t.check(s, "launching %d x %d x %d blocks of %d threads", n.X, n.Y, n.Z, n.Threads))
	}
	return g.failed()
}

// Sync waits until all queued work is done.
func (g *GPU) Sync() error {
	defer g.t.current(g.ctx)()
	return g.note(g.t.check(call(g.t.StreamSynchronize, g.stream), "waiting for the GPU"))
}

// Close releases the staging memory, the modules, the stream and the context.
func (g *GPU) Close() error {
	if g.ctx == 0 {
		return nil
	}
	defer g.t.current(g.ctx)()
	if g.stream != 0 {
		call(g.t.StreamSynchronize, g.stream)
	}
	g.up.close(g)
	g.down.close(g)
	for _, m := range g.modules {
		call(g.t.ModuleUnload, m)
	}
	if g.stream != 0 {
		call(g.t.StreamDestroy, g.stream)
	}
	s := call(g.t.DevicePrimaryCtxRelease, uintptr(g.dev))
	g.ctx = 0
	return g.t.check(s, "closing the GPU")
}
