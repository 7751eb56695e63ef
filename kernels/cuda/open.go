//go:build !nogpu && (linux || windows)

package cuda

import (
	"fmt"

	"github.com/zerosearch-go/zerosearch/kernels/cuda/internal/driver"
)

// Probe looks for the driver and for GPUs.
func Probe() System {
	d, err := driver.Load()
	if err != nil {
		return System{Why: err.Error()}
	}
	s := System{Library: d.Path, Version: fmt.Sprintf("%d.%d", d.Version/1000, d.Version%1000/10)}
	all, err := d.List()
	if err != nil {
		s.Why = err.Error()
		return s
	}
	for _, x := range all {
		s.GPUs = append(s.GPUs, Info{Index: x.Index, Name: x.Name, UUID: x.UUID, Major: x.Major, Minor: x.Minor, SMs: x.SMs, Memory: x.Memory, Free: -1, Why: x.Usable()})
	}
	if len(all) == 0 {
		s.Why = "no GPU is visible: look at CUDA_VISIBLE_DEVICES, and in a container run it with --gpus all"
	}
	return s
}

// New opens GPU number index.
func New(index int) (*Device, error) {
	d, err := driver.Load()
	if err != nil {
		return nil, err
	}
	g, err := d.GPU(index)
	if err != nil {
		return nil, err
	}
	return Open(fmt.Sprintf("cuda:%d", index), g)
}
