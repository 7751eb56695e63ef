//go:build noasm || !(amd64 || arm64)

package cpu

import "github.com/zerosearch-go/zerosearch/kernels"

func rowsOf(isa) *rowKernels { return &rowsPlain }

func attnAMXOf(isa) *attnKernels { return nil }

func attnOf(_ isa, t kernels.DType) *attnKernels {
	if t == kernels.F32 {
		return &attnPlainF32
	}
	return &attnPlainBF16
}
