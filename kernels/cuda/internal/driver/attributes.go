//go:build !nogpu && (linux || windows)

package driver

import (
	"unsafe"

	"github.com/zerosearch-go/zerosearch/kernels/cuda/internal/gpu"
)

var _ gpu.Inspector = (*GPU)(nil)

// Attributes of a kernel: CUfunction_attribute.
const (
	funcMaxThreads = 0
	funcShared     = 1
	funcLocal      = 3
	funcRegisters  = 4
	funcBinary     = 6
)

// Attributes returns what the driver's compiler made of the kernel f.
func (g *GPU) Attributes(f gpu.Func) (a gpu.Attributes, err error) {
	defer g.t.current(g.ctx)()
	for attribute, to := range map[int]*int{funcMaxThreads: &a.MaxThreads, funcShared: &a.Shared, funcLocal: &a.Local,
		funcRegisters: &a.Registers, funcBinary: &a.Binary} {
		var v int32
		s := call(g.t.FuncGetAttribute, uintptr(unsafe.Pointer(&v)), uintptr(attribute), uintptr(f))
		if err := g.t.check(s, "asking for attribute %d of a kernel", attribute); err != nil {
			return a, err
		}
		*to = int(v)
	}
	return a, nil
}
