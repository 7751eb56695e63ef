//go:build noasm || !amd64

package cpu

import "github.com/zerosearch-go/zerosearch/kernels"

// transpose16 is the argument of assembly transposers, which this build does not have.
type transpose16 struct{}

func kvTransposer(isa, kernels.DType) func(*transpose16) { return nil }

func (w *kvWriter) transposeKeys(keys []uint32, k []float32, ld int) int { return 0 }
