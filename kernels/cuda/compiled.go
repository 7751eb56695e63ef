package cuda

import (
	"fmt"
	"time"

	"github.com/zerosearch-go/zerosearch/kernels/cuda/internal/gpu"
)

// Module is a file of kernels as the driver compiled it for the GPU.
type Module struct {
	Name    string
	Took    time.Duration // time to compile; short where the driver found the result in its cache (~/.nv/ComputeCache)
	Kernels []Kernel
}

// Kernel is a kernel as the driver compiled it.
type Kernel struct {
	Name       string
	Registers  int // of a thread
	Local      int // bytes of a thread in the GPU's memory because its registers do not suffice (spills)
	Shared     int // bytes of a block, without what a launch adds
	MaxThreads int // of a block
	Capability int // compute capability that it was compiled for, 90 for 9.0
}

// loaded is a module with its kernels, in one order.
type loaded struct {
	name  string
	took  time.Duration
	names []string
	funcs []gpu.Func
}

// Compiled lists the kernels of d as the driver compiled them.
func (d *Device) Compiled() ([]Module, error) {
	g, ok := d.gpu.(gpu.Inspector)
	if !ok {
		return nil, fmt.Errorf("%s: it does not say how kernels were compiled", d.name)
	}
	var all []Module
	for _, l := range d.modules {
		m := Module{Name: l.name, Took: l.took}
		for i, f := range l.funcs {
			a, err := g.Attributes(f)
			if err != nil {
				return nil, fmt.Errorf("%s: kernel %s: %w", d.name, l.names[i], err)
			}
			m.Kernels = append(m.Kernels, Kernel{l.names[i], a.Registers, a.Local, a.Shared, a.MaxThreads, a.Binary})
		}
		all = append(all, m)
	}
	return all, nil
}
