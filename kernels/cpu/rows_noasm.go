//go:build noasm || !(amd64 || arm64)

package cpu

import "github.com/zerosearch-go/zerosearch/kernels"

func rowsOf(isa) *rowKernels { return &rowsPlain }

func attnOf(_ isa, t kernels.DType) *attnKernels {
	if t == kernels.F32 {
		return &attnPlainF32
	}
	return &attnPlainBF16
}

// turn16 is the argument of transposers, of which there are none.
type turn16 struct{}

func kvTurner(isa, kernels.DType) func(*turn16) { return nil }

func (w *kvWriter) turnKeys(keys []uint32, k []float32, ld int) int { return 0 }
