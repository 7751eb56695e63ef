//go:build noasm || !amd64

package cpu

import "github.com/zerosearch-go/zerosearch/kernels"

// turn16 is the argument of transposers, of which there are none.
type turn16 struct{}

func kvTurner(isa, kernels.DType) func(*turn16) { return nil }

func (w *kvWriter) turnKeys(keys []uint32, k []float32, ld int) int { return 0 }
