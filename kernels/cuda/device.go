// Package cuda is the device of an NVIDIA GPU: kernels of its own, compiled beforehand to PTX, which the driver
// compiles for this machine's GPU. It needs a GPU of compute capability 8.0 or later and NVIDIA's driver; no toolkit
// and no C compiler. Where NVIDIA's cuBLAS is found, it computes the products of BF16 weights.
package cuda

import (
	"cmp"
	"fmt"
	"time"

	"github.com/zerosearch-go/zerosearch/kernels"
	"github.com/zerosearch-go/zerosearch/kernels/cuda/internal/gpu"
	"github.com/zerosearch-go/zerosearch/kernels/cuda/internal/ptx"
)

// Device is one GPU.
type Device struct {
	gpu     gpu.GPU
	name    string
	props   gpu.Props
	kernels map[string]gpu.Func
	modules []loaded
	args    gpu.Args // of the launch that is being made
	scratch [scratches]*scratch
	library *library // nil: all products are computed by our own kernels
	missing string   // why there is no library
	err     error    // the first that queued work had; it stays

	recording *recording // that is being made

	findJoiner func() (gpu.Joiner, error) // nil: there is none
	link       *link                      // to the devices of other ranks, or nil
}

var (
	_ kernels.Device      = (*Device)(nil)
	_ kernels.ThreadBound = (*Device)(nil)
	_ kernels.OwnMemory   = (*Device)(nil)
)

// Open makes a device of g, which it closes with itself: New does it with a GPU of the driver. Where g is a
// gpu.Multiplier, its library computes the products of BF16 weights.
func Open(name string, g gpu.GPU) (*Device, error) {
	d := &Device{gpu: g, name: name, props: g.Props(), kernels: map[string]gpu.Func{}}
	if m, ok := g.(gpu.Multiplier); ok {
		d.library = &library{Multiplier: m, plans: map[shape]*plan{}}
	}
	for _, m := range ptx.Modules() {
		began := time.Now()
		fs, err := g.Load(m.Text, m.Kernels)
		if err != nil {
			g.Close()
			return nil, fmt.Errorf("%s: loading the kernels of %s: %w", name, m.Name, err)
		}
		d.modules = append(d.modules, loaded{m.Name, time.Since(began), m.Kernels, fs})
		for i, k := range m.Kernels {
			d.kernels[k] = fs[i]
		}
	}
	return d, nil
}

// Name is "cuda:0" and so on.
func (d *Device) Name() string { return d.name }

// ThreadBound says that a GPU's context belongs to one thread.
func (d *Device) ThreadBound() {}

// Memory is the size of the GPU's memory, and what of it could be allocated now.
func (d *Device) Memory() (total, available int64, err error) {
	available, err = d.gpu.Available()
	return d.props.Memory, available, err
}

// Sync waits for all that was queued.
func (d *Device) Sync() error {
	d.outside("Sync")
	d.note(d.gpu.Sync())
	return d.err
}

// Close waits and releases what the device itself holds.
func (d *Device) Close() error {
	d.outside("Close")
	d.gpu.Sync()
	left := d.unlink()
	for i := range d.scratch {
		d.dropScratch(i)
	}
	return cmp.Or(d.gpu.Close(), left)
}

// Operand is BF16 for products of BF16 weights: tensor cores take it.
func (d *Device) Operand(t kernels.DType) kernels.DType {
	if t == kernels.BF16 {
		return kernels.BF16
	}
	return kernels.F32
}

// note keeps the first error of queued work.
func (d *Device) note(err error) {
	if err != nil && d.err == nil {
		d.err = fmt.Errorf("%s: %w", d.name, err)
	}
}

// arg begins the parameters of a launch.
func (d *Device) arg() *gpu.Args { return d.args.Reset() }

// launch queues the named kernel. After an error nothing is queued any more.
func (d *Device) launch(kernel string, g gpu.Grid, a *gpu.Args) {
	if d.err != nil || g.X == 0 || g.Y == 0 || g.Z == 0 {
		return
	}
	f, ok := d.kernels[kernel]
	if !ok {
		panic("cuda: there is no kernel " + kernel)
	}
	if err := d.gpu.Launch(f, g, a); err != nil {
		d.note(fmt.Errorf("kernel %s: %w", kernel, err))
	}
}

// line is a grid of x blocks.
func line(x, threads int) gpu.Grid { return gpu.Grid{X: x, Y: 1, Z: 1, Threads: threads} }

// ceil is a/b rounded up.
func ceil(a, b int) int { return (a + b - 1) / b }

func fail(op, format string, args ...any) { panic("cuda: " + op + ": " + fmt.Sprintf(format, args...)) }
