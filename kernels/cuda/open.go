//go:build !nogpu && (linux || windows)

package cuda

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/zerosearch-go/zerosearch/kernels/cuda/internal/cublaslt"
	"github.com/zerosearch-go/zerosearch/kernels/cuda/internal/driver"
	"github.com/zerosearch-go/zerosearch/kernels/cuda/internal/gpu"
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
		s.GPUs = append(s.GPUs, Info{Index: x.Index, Name: x.Name, UUID: x.UUID, Major: x.Major, Minor: x.Minor,
			SMs: x.SMs, Memory: x.Memory, Free: -1, Why: x.Usable()})
	}
	if len(all) == 0 {
		s.Why = "no GPU is visible: look at CUDA_VISIBLE_DEVICES, and in a container run it with --gpus all"
	}
	return s
}

// FindCUBLAS looks for cuBLAS as New does.
func FindCUBLAS() CUBLAS {
	d, err := driver.Load()
	if err != nil {
		return CUBLAS{Why: err.Error()}
	}
	l, err := cublaslt.Load(d.Version)
	if err != nil {
		return CUBLAS{Why: err.Error()}
	}
	return CUBLAS{Library: l.Path, Version: l.Version()}
}

// New opens GPU number index. cuBLAS computes products of BF16 weights, if there is one; Products says why not.
func New(index int) (*Device, error) {
	d, err := driver.Load()
	if err != nil {
		return nil, err
	}
	g, err := d.GPU(index)
	if err != nil {
		return nil, err
	}
	x, missing := withCUBLAS(g, func() (*cublaslt.Library, error) { return cublaslt.Load(d.Version) })
	dev, err := Open(fmt.Sprintf("cuda:%d", index), x)
	if err != nil {
		return nil, err
	}
	dev.missing, dev.findJoiner = missing, findNCCL
	if cache, err := os.UserCacheDir(); err == nil {
		dev.keepChoices(filepath.Join(cache, "zerosearch", "cublas.json"))
	}
	return dev, nil
}

// withCUBLAS is g with the library that load gives, or g and why it has none.
func withCUBLAS(g *driver.GPU, load func() (*cublaslt.Library, error)) (x gpu.GPU, missing string) {
	l, err := load()
	if err != nil {
		return g, err.Error()
	}
	with, err := l.On(g)
	if err != nil {
		return g, err.Error()
	}
	return with, ""
}
