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
// Its context belongs to a thread once a call has made it current there. Calls that are rare make it so each time.
// Those of a pass only do when the driver says that another context, or none, was current: the caller drives a device
// from one thread.
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
	err     atomic.Pointer[error] // of a call that failed, the first; it stays

	// What a launch points to, at an address that stays.
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
	poolRelease  = 4 // bytes that it keeps at a synchronisation
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

// Props are what the driver says of it.
func (g *GPU) Props() gpu.Props {
	x := g.info
	return gpu.Props{Name: x.Name, Major: x.Major, Minor: x.Minor, SMs: x.SMs, Shared: x.shared, Memory: x.Memory}
}

// Alloc takes memory of the pool, in the order of the stream.
func (g *GPU) Alloc(bytes int64) (gpu.Ptr, error) {
	defer g.t.current(g.ctx)()
	var p gpu.Ptr
	err := g.t.check(call(g.t.MemAllocAsync, uintptr(unsafe.Pointer(&p)), uintptr(bytes), g.stream),
		"allocating %d bytes", bytes)
	return p, err
}

// Free gives memory back to the pool, in the order of the stream.
func (g *GPU) Free(p gpu.Ptr) error {
	defer g.t.current(g.ctx)()
	return g.t.check(call(g.t.MemFreeAsync, uintptr(p), g.stream), "freeing memory")
}

// Available is what is free, and what the pool keeps without need.
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

// hot is call without an allocation, and again with the context made current if the thread had another. Pointers among
// the arguments are to memory of g.
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

// note keeps the first error and returns it. Events are waited for by any goroutine.
func (g *GPU) note(err error) error {
	if err != nil {
		g.err.CompareAndSwap(nil, &err)
	}
	return g.failed()
}

// failed is the first error.
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

// Zero queues a clearing.
func (g *GPU) Zero(dst gpu.Ptr, bytes int64) error {
	s := g.hot(g.t.MemsetD8, uintptr(dst), 0, uintptr(bytes), g.stream)
	if s != success {
		g.note(g.t.check(s, "clearing %d bytes", bytes))
	}
	return g.failed()
}

// dynamicShared is CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES.
const dynamicShared = 8

// staticLimit is the shared memory that a kernel of ours may have by itself, beside what a launch adds.
const staticLimit = 48 << 10

// Load compiles ptx for this GPU; the driver keeps what it made in the user's cache (~/.nv).
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
			// refused for kernels with static memory: they need none
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

// Sync waits for all that was queued.
func (g *GPU) Sync() error {
	defer g.t.current(g.ctx)()
	return g.note(g.t.check(call(g.t.StreamSynchronize, g.stream), "waiting for the GPU"))
}

// Close gives back all that was opened.
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
