// Package sim is a GPU that runs PTX in Go: for tests, where there is no GPU. What it refuses is listed at package ptxsim.
package sim

import (
	"fmt"
	"math"

	"github.com/zerosearch-go/zerosearch/kernels/cuda/internal/gpu"
	"github.com/zerosearch-go/zerosearch/kernels/cuda/internal/ptxsim"
)

// GPU computes at once what it is asked to.
type GPU struct {
	mem     ptxsim.Memory
	kernels []*ptxsim.Kernel
	modules map[string]*ptxsim.Module
	err     error

	Launches map[string]int // of each kernel, for tests
}

var _ gpu.GPU = (*GPU)(nil)

// New is a GPU without anything in it.
func New() *GPU { return &GPU{modules: map[string]*ptxsim.Module{}, Launches: map[string]int{}} }

// Props are those of a small GPU of the oldest supported kind.
func (g *GPU) Props() gpu.Props {
	return gpu.Props{Name: "simulated", Major: 8, SMs: 4, Shared: 99 << 10, Memory: math.MaxInt32}
}

// Live is the number of allocations that were not freed.
func (g *GPU) Live() int { return g.mem.Live() }

// Alloc gives memory that holds NaN.
func (g *GPU) Alloc(bytes int64) (gpu.Ptr, error) {
	if bytes < 0 || bytes > math.MaxInt32 {
		return 0, fmt.Errorf("%d bytes do not fit into a simulated GPU", bytes)
	}
	return gpu.Ptr(g.mem.Alloc(int(bytes))), nil
}

// Free takes memory back.
func (g *GPU) Free(p gpu.Ptr) error { return g.mem.Free(uint64(p)) }

// Available is always the same.
func (g *GPU) Available() (int64, error) { return math.MaxInt32, nil }

// fail keeps the first error.
func (g *GPU) fail(err error) error {
	if g.err == nil {
		g.err = err
	}
	return g.err
}

// Upload copies at once.
func (g *GPU) Upload(dst gpu.Ptr, src []byte) error {
	to, err := g.mem.Bytes(uint64(dst), len(src))
	copy(to, src)
	return g.fail(err)
}

// Download copies at once.
func (g *GPU) Download(dst []byte, src gpu.Ptr) (gpu.Event, error) {
	from, err := g.mem.Bytes(uint64(src), len(dst))
	copy(dst, from)
	return ended{g.fail(err)}, nil
}

// Copy copies at once.
func (g *GPU) Copy(dst, src gpu.Ptr, bytes int64) error {
	from, err := g.mem.Bytes(uint64(src), int(bytes))
	if err != nil {
		return g.fail(err)
	}
	return g.Upload(dst, from)
}

// Zero clears at once.
func (g *GPU) Zero(dst gpu.Ptr, bytes int64) error {
	to, err := g.mem.Bytes(uint64(dst), int(bytes))
	clear(to)
	return g.fail(err)
}

// Load parses the PTX and finds kernels.
func (g *GPU) Load(ptx string, names []string) ([]gpu.Func, error) {
	m := g.modules[ptx]
	if m == nil {
		var err error
		if m, err = ptxsim.Parse(ptx); err != nil {
			return nil, err
		}
		g.modules[ptx] = m
	}
	var fs []gpu.Func
	for _, n := range names {
		k := m.Kernels[n]
		if k == nil {
			return nil, fmt.Errorf("the PTX has no kernel %s", n)
		}
		fs = append(fs, gpu.Func(len(g.kernels)))
		g.kernels = append(g.kernels, k)
	}
	return fs, nil
}

// Launch runs the kernel.
func (g *GPU) Launch(f gpu.Func, grid gpu.Grid, a *gpu.Args) error {
	if g.err != nil {
		return g.err
	}
	k := g.kernels[f]
	g.Launches[k.Name]++
	return g.fail(k.Run(&g.mem, ptxsim.Grid{X: grid.X, Y: grid.Y, Z: grid.Z, Threads: grid.Threads, Dynamic: grid.Dynamic}, a.Bytes()))
}

// Sync returns the first error.
func (g *GPU) Sync() error { return g.err }

// Close reports what was not freed.
func (g *GPU) Close() error {
	if n := g.mem.Live(); n > 0 {
		return fmt.Errorf("%d allocations were not freed", n)
	}
	return nil
}

// ended is an event that is past.
type ended struct{ err error }

func (e ended) Wait() error { return e.err }
